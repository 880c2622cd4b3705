// SPDX-License-Identifier: Apache-2.0
//
// Small POSIX file helpers.

#include "file_util.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "error.h"

namespace splitc {
namespace {

int64_t Nanoseconds(const struct timespec& t) {
  // Wraps instead of overflowing: a file system may hand out any time stamp,
  // and the value is only compared for equality.
  return static_cast<int64_t>(static_cast<uint64_t>(t.tv_sec) * 1000000000u +
                              static_cast<uint64_t>(t.tv_nsec));
}

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) close(fd_);
    fd_ = other.Release();
  }
  return *this;
}

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) close(fd_);
}

int UniqueFd::Release() { return std::exchange(fd_, -1); }

FileIdentity::FileIdentity(const struct stat& st)
    : device_(st.st_dev),
      inode_(st.st_ino),
      size_(st.st_size),
      modified_ns_(Nanoseconds(st.st_mtim)),
      changed_ns_(Nanoseconds(st.st_ctim)) {}

bool FileIdentity::operator==(const FileIdentity& other) const {
  return device_ == other.device_ && inode_ == other.inode_ && size_ == other.size_ &&
         modified_ns_ == other.modified_ns_ && changed_ns_ == other.changed_ns_;
}

OpenedFile OpenRegularFile(int dir_fd, const std::string& path, Symlinks symlinks) {
  const int no_follow = symlinks == Symlinks::kRefuse ? O_NOFOLLOW : 0;
  OpenedFile file;
  file.fd = UniqueFd(openat(dir_fd, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | no_follow));
  if (file.fd.get() < 0) {
    if (errno == ELOOP) Fail(ExitCode::kBadInput, path, "is a symbolic link");
    Fail(ExitCode::kBadInput, path, "cannot open: " + LastSystemError());
  }
  struct stat st;
  if (fstat(file.fd.get(), &st) != 0) {
    Fail(ExitCode::kBadInput, path, "cannot stat: " + LastSystemError());
  }
  if (!S_ISREG(st.st_mode)) Fail(ExitCode::kBadInput, path, "is not a regular file");
  file.size = static_cast<uint64_t>(st.st_size);
  file.identity = FileIdentity(st);
  return file;
}

void ReadExactly(int fd, void* data, size_t size, uint64_t offset, const std::string& path) {
  char* p = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = pread(fd, p, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(ExitCode::kBadInput, path, "cannot read: " + LastSystemError());
    if (n == 0) Fail(ExitCode::kBadInput, path, "ends early");
    p += n;
    size -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
}

void WriteFully(int fd, const void* data, size_t size, const std::string& path) {
  const char* p = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Fail(ExitCode::kOther, path, "cannot write: " + LastSystemError());
    p += n;
    size -= static_cast<size_t>(n);
  }
}

std::string LastSystemError() { return std::strerror(errno); }

}  // namespace splitc
