// SPDX-License-Identifier: Apache-2.0
//
// ChaCha20-Poly1305 of zig's standard library, for C. Data is changed in place.

const Cipher = @import("std").crypto.aead.chacha_poly.ChaCha20Poly1305;

export fn splitc_seal(
    data: [*]u8,
    size: usize,
    tag: *[Cipher.tag_length]u8,
    known: [*]const u8,
    known_size: usize,
    nonce: *const [Cipher.nonce_length]u8,
    key: *const [Cipher.key_length]u8,
) void {
    Cipher.encrypt(data[0..size], tag, data[0..size], known[0..known_size], nonce.*, key.*);
}

export fn splitc_open(
    data: [*]u8,
    size: usize,
    tag: *const [Cipher.tag_length]u8,
    known: [*]const u8,
    known_size: usize,
    nonce: *const [Cipher.nonce_length]u8,
    key: *const [Cipher.key_length]u8,
) c_int {
    Cipher.decrypt(data[0..size], data[0..size], tag.*, known[0..known_size], nonce.*, key.*) catch return 0;
    return 1;
}
