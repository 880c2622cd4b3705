// SPDX-License-Identifier: Apache-2.0
//
// ChaCha20-Poly1305 of zig's standard library, for C. Data is changed in place. Built once for
// every processor of an ISA, and on x86 once more for those with AVX2, under other names.

const std = @import("std");
const Cipher = std.crypto.aead.chacha_poly.ChaCha20Poly1305;
const cpu = @import("builtin").cpu;

fn seal(
    data: [*]u8,
    size: usize,
    tag: *[Cipher.tag_length]u8,
    known: [*]const u8,
    known_size: usize,
    nonce: *const [Cipher.nonce_length]u8,
    key: *const [Cipher.key_length]u8,
) callconv(.c) void {
    Cipher.encrypt(data[0..size], tag, data[0..size], known[0..known_size], nonce.*, key.*);
}

fn open(
    data: [*]u8,
    size: usize,
    tag: *const [Cipher.tag_length]u8,
    known: [*]const u8,
    known_size: usize,
    nonce: *const [Cipher.nonce_length]u8,
    key: *const [Cipher.key_length]u8,
) callconv(.c) c_int {
    Cipher.decrypt(data[0..size], data[0..size], tag.*, known[0..known_size], nonce.*, key.*) catch return 0;
    return 1;
}

comptime {
    const wide = cpu.arch == .x86_64 and std.Target.x86.featureSetHas(cpu.features, .avx2);
    @export(&seal, .{ .name = if (wide) "splitc_seal_avx2" else "splitc_seal" });
    @export(&open, .{ .name = if (wide) "splitc_open_avx2" else "splitc_open" });
}
