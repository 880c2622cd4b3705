// SPDX-License-Identifier: Apache-2.0
//
// Small POSIX file helpers: an owning descriptor, opening regular files only,
// and reads and writes that are complete or fail.

#ifndef SPLITC_RUNNER_FILE_UTIL_H_
#define SPLITC_RUNNER_FILE_UTIL_H_

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace splitc {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd();

  int get() const { return fd_; }
  int Release();

 private:
  int fd_ = -1;
};

// Tells one state of one file from another. Equal values mean, while a
// descriptor keeps the inode alive, that the file was neither replaced nor
// written to, as far as the file system's time stamps can tell.
class FileIdentity {
 public:
  FileIdentity() = default;
  explicit FileIdentity(const struct stat& st);
  bool operator==(const FileIdentity& other) const;

 private:
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
  int64_t size_ = -1;
  int64_t modified_ns_ = 0;
  int64_t changed_ns_ = 0;
};

struct OpenedFile {
  UniqueFd fd;
  uint64_t size = 0;
  FileIdentity identity;
};

enum class Symlinks { kFollow, kRefuse };

// Opens `path` (relative to `dir_fd`) for reading; anything but a regular file
// is refused, without ever blocking on a pipe or a device.
OpenedFile OpenRegularFile(int dir_fd, const std::string& path, Symlinks symlinks);

// Reads exactly `size` bytes at `offset`, or fails, naming `path`.
void ReadExactly(int fd, void* data, size_t size, uint64_t offset, const std::string& path);

void WriteFully(int fd, const void* data, size_t size, const std::string& path);

// "strerror(errno)", for messages.
std::string LastSystemError();

}  // namespace splitc

#endif  // SPLITC_RUNNER_FILE_UTIL_H_
