// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing .npy files. What is read is untrusted: sizes are checked
// against the file before anything is allocated for them.

#include "npy.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "error.h"
#include "text.h"

namespace splitc {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kMaxHeaderBytes = 1 << 16;

// One more than the contract may have, for stacked samples.
constexpr size_t kMaxNpyRank = kMaxRank + 1;

[[noreturn]] void Bad(const std::string& path, const std::string& why) {
  Fail(ExitCode::kBadInput, path, why);
}

// Reads the Python literal that NumPy writes: a dictionary with exactly the
// keys descr, fortran_order and shape.
class DictionaryParser {
 public:
  DictionaryParser(std::string_view text, const std::string& path) : text_(text), path_(path) {}

  NpyHeader Parse() {
    Expect('{');
    while (!Accept('}')) {
      ParseMember();
      if (Accept(',')) continue;
      Expect('}');
      break;
    }
    SkipSpace();
    if (pos_ != text_.size()) Malformed();
    if (!has_descr_ || !has_order_ || !has_shape_) Malformed();
    return std::move(header_);
  }

 private:
  [[noreturn]] void Malformed() const { Bad(path_, "malformed .npy header"); }

  char Peek() const { return pos_ < text_.size() ? text_[pos_] : '\0'; }

  void SkipSpace() {
    while (Peek() == ' ' || Peek() == '\t' || Peek() == '\n' || Peek() == '\r') ++pos_;
  }

  bool Accept(char c) {
    SkipSpace();
    if (Peek() != c) return false;
    ++pos_;
    return true;
  }

  void Expect(char c) {
    if (!Accept(c)) Malformed();
  }

  // Marks a key as seen; each may come only once.
  void Once(bool* seen) const {
    if (*seen) Malformed();
    *seen = true;
  }

  void ParseMember() {
    const std::string_view key = ParseString();
    Expect(':');
    if (key == "descr") {
      Once(&has_descr_);
      ParseDescr();
    } else if (key == "fortran_order") {
      Once(&has_order_);
      ParseOrder();
    } else if (key == "shape") {
      Once(&has_shape_);
      ParseShape();
    } else {
      Malformed();
    }
  }

  std::string_view ParseString() {
    SkipSpace();
    const char quote = Peek();
    if (quote != '\'' && quote != '"') Malformed();
    const size_t start = pos_ + 1;
    const size_t end = text_.find(quote, start);
    if (end == std::string_view::npos) Malformed();
    pos_ = end + 1;
    return text_.substr(start, end - start);
  }

  void ParseDescr() {
    SkipSpace();
    if (Peek() == '[') Bad(path_, "structured arrays are not supported");
    const std::string_view descr = ParseString();
    if (descr.size() != 3) Unsupported(descr);
    const char order = descr[0];
    const unsigned size = static_cast<unsigned>(descr[2] - '0');
    if (order == '>' && size > 1) Bad(path_, "big-endian data is not supported");
    header_.dtype = FindNpyDType(descr[1], size);
    const bool order_fits = order == '<' || (order == '|' && size == 1);
    if (header_.dtype == nullptr || !order_fits) Unsupported(descr);
  }

  [[noreturn]] void Unsupported(std::string_view descr) const {
    Bad(path_, "element type '" + std::string(descr.substr(0, 40)) + "' is not supported");
  }

  void ParseOrder() {
    SkipSpace();
    if (text_.substr(pos_, 4) == "True") Bad(path_, "Fortran order is not supported");
    if (text_.substr(pos_, 5) != "False") Malformed();
    pos_ += 5;
  }

  // "()", "(3,)", "(3, 4)" or "(3, 4,)".
  void ParseShape() {
    Expect('(');
    while (!Accept(')')) {
      if (header_.shape.size() == kMaxNpyRank) Bad(path_, "has too many dimensions");
      header_.shape.push_back(ParseDimension());
      if (Accept(',')) continue;
      Expect(')');
      if (header_.shape.size() == 1) Malformed();  // "(3)" is not a tuple
      break;
    }
  }

  int64_t ParseDimension() {
    SkipSpace();
    const size_t start = pos_;
    int64_t value = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++pos_) {
      if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
          __builtin_add_overflow(value, int64_t{Peek() - '0'}, &value)) {
        Bad(path_, "has a dimension that is too large");
      }
    }
    if (pos_ == start) Malformed();
    return value;
  }

  std::string_view text_;
  const std::string& path_;
  size_t pos_ = 0;
  NpyHeader header_;
  bool has_descr_ = false;
  bool has_order_ = false;
  bool has_shape_ = false;
};

// Length of the dictionary, and where it starts, from the first bytes.
struct Preamble {
  size_t header_start = 0;
  size_t header_bytes = 0;
};

Preamble ReadPreamble(const OpenedFile& file, const std::string& path) {
  uint8_t bytes[12] = {};
  if (file.size < 10) Bad(path, "is not a .npy file: too short");
  ReadExactly(file.fd.get(), bytes, file.size < 12 ? 10 : 12, 0, path);
  if (std::memcmp(bytes, kMagic.data(), kMagic.size()) != 0) {
    Bad(path, "is not a .npy file: no magic number");
  }
  const unsigned major = bytes[6];
  const unsigned minor = bytes[7];
  if (major < 1 || major > 3 || minor != 0) {
    Bad(path, "unsupported .npy version " + Decimal(major) + "." + Decimal(minor));
  }
  Preamble preamble;
  preamble.header_bytes = bytes[8] | static_cast<size_t>(bytes[9]) << 8;
  preamble.header_start = 10;
  if (major > 1) {
    preamble.header_bytes |= static_cast<size_t>(bytes[10]) << 16;
    preamble.header_bytes |= static_cast<size_t>(bytes[11]) << 24;
    preamble.header_start = 12;
  }
  return preamble;
}

std::string NpyPrefix(const DType& dtype, const Shape& shape) {
  std::string text = "{'descr': '";
  text += dtype.size == 1 ? '|' : '<';
  text += dtype.npy_kind;
  text += Decimal(dtype.size) + "', 'fortran_order': False, 'shape': (";
  for (const int64_t dim : shape) text += Decimal(dim) + ", ";
  if (shape.size() > 1) text.resize(text.size() - 2);
  if (shape.size() == 1) text.resize(text.size() - 1);
  text += "), }";
  // The data must start at a multiple of 64, after a line feed.
  while ((kMagic.size() + 4 + text.size() + 1) % 64 != 0) text += ' ';
  text += '\n';
  std::string prefix(kMagic);
  prefix += '\x01';
  prefix += '\x00';
  prefix += static_cast<char>(text.size() & 0xff);
  prefix += static_cast<char>(text.size() >> 8);
  return prefix + text;
}

}  // namespace

NpyHeader ParseNpyDictionary(std::string_view text, const std::string& path) {
  return DictionaryParser(text, path).Parse();
}

NpyReader::NpyReader(const std::string& path)
    : path_(path), file_(OpenRegularFile(AT_FDCWD, path, Symlinks::kFollow)) {
  const Preamble preamble = ReadPreamble(file_, path_);
  if (preamble.header_bytes > kMaxHeaderBytes) Bad(path_, ".npy header is too long");
  data_offset_ = preamble.header_start + preamble.header_bytes;
  if (data_offset_ > file_.size) Bad(path_, ".npy header is cut off");
  std::string text(preamble.header_bytes, '\0');
  ReadExactly(file_.fd.get(), text.data(), text.size(), preamble.header_start, path_);
  header_ = ParseNpyDictionary(text, path_);
  uint64_t bytes = 0;
  if (!TensorBytes(*header_.dtype, header_.shape, &bytes)) Bad(path_, "has an impossible shape");
  if (bytes != file_.size - data_offset_) {
    Bad(path_, "holds " + Decimal(file_.size - data_offset_) + " bytes of data instead of " +
                   Decimal(bytes));
  }
}

void NpyReader::Read(void* data, size_t size, uint64_t offset) const {
  ReadExactly(file_.fd.get(), data, size, data_offset_ + offset, path_);
}

// The temporary name ends in .npy too: should it be left behind in a part's
// folder by a killed run, the part still counts as intact.
NpyWriter::NpyWriter(const std::string& folder, const std::string& name, const DType& dtype,
                     const Shape& shape)
    : path_(folder + "/" + name),
      temporary_(folder + "/." + Decimal(getpid()) + "." + name) {
  unlink(temporary_.c_str());
  const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
  fd_ = UniqueFd(open(temporary_.c_str(), flags, 0666));
  if (fd_.get() < 0) {
    Fail(ExitCode::kOther, path_, "cannot create: " + LastSystemError());
  }
  MarkUnfinished(temporary_);
  const std::string prefix = NpyPrefix(dtype, shape);
  WriteFully(fd_.get(), prefix.data(), prefix.size(), path_);
}

void NpyWriter::Append(const void* data, size_t size) { WriteFully(fd_.get(), data, size, path_); }

void NpyWriter::Commit() {
  const int fd = fd_.Release();
  // Some file systems report a failed write only here.
  if (close(fd) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0) {
    Fail(ExitCode::kOther, path_, "cannot write: " + LastSystemError());
  }
  MarkFinished(temporary_);
}

}  // namespace splitc
