// SPDX-License-Identifier: Apache-2.0
//
// Checks a part's folder.

#include "part.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include "error.h"
#include "text.h"

namespace splitc {
namespace {

constexpr size_t kReadChunk = 1 << 18;

struct DirCloser {
  void operator()(DIR* dir) const { closedir(dir); }
};
struct Freer {
  void operator()(char* p) const { std::free(p); }
};

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

Sha256Digest HashFile(const OpenedFile& file, const std::string& path) {
  std::vector<uint8_t> chunk(kReadChunk);
  Sha256 sha256;
  for (uint64_t offset = 0; offset < file.size;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(chunk.size(), file.size - offset));
    ReadExactly(file.fd.get(), chunk.data(), n, offset, path);
    sha256.Update(chunk.data(), n);
    offset += n;
  }
  return sha256.Finish();
}

}  // namespace

Part::Part(const std::string& folder, const std::string& shown)
    : shown_(shown.empty() ? shown : shown + "/") {
  const std::unique_ptr<char, Freer> resolved(realpath(folder.c_str(), nullptr));
  if (!resolved) Fail(ExitCode::kBadInput, folder, "cannot open the part: " + LastSystemError());
  folder_ = resolved.get();
  folder_fd_ = UniqueFd(open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd_.get() < 0) {
    Fail(ExitCode::kBadInput, folder, "cannot open the part: " + LastSystemError());
  }
  ReadManifest();
  CheckNoStrangers();
  for (const auto& [name, spec] : manifest_.files) CheckFile(name, spec);
}

std::string Part::Beside(const std::string& name) const {
  return folder_.substr(0, folder_.rfind('/') + 1) + name;
}

void Part::ReadManifest() {
  const OpenedFile file = OpenRegularFile(folder_fd_.get(), kManifestName, Symlinks::kRefuse);
  if (file.size > kMaxManifestBytes) {
    Fail(ExitCode::kBadInput, shown_ + kManifestName, "is too large");
  }
  std::string text(static_cast<size_t>(file.size), '\0');
  ReadExactly(file.fd.get(), text.data(), text.size(), 0, kManifestName);
  manifest_ = ParseManifest(text);
}

// What is not listed was not checked, and may be mistaken for the part's.
void Part::CheckNoStrangers() const {
  const std::unique_ptr<DIR, DirCloser> dir(opendir(folder_.c_str()));
  if (!dir) Fail(ExitCode::kBadInput, folder_, "cannot list the part: " + LastSystemError());
  for (errno = 0; const struct dirent* entry = readdir(dir.get()); errno = 0) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || name == kManifestName || EndsWith(name, ".npy")) continue;
    if (manifest_.files.count(name) != 0) continue;
    // A part's files lie beside one another: what is in a folder is none of them.
    struct stat st;
    if (fstatat(folder_fd_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(st.st_mode)) {
      continue;
    }
    Fail(ExitCode::kBadInput, shown_ + name, "is in the part's folder, but not in its manifest");
  }
  if (errno != 0) {
    Fail(ExitCode::kBadInput, folder_, "cannot list the part: " + LastSystemError());
  }
}

void Part::CheckFile(const std::string& name, const FileSpec& spec) {
  OpenedFile file = OpenRegularFile(folder_fd_.get(), name, Symlinks::kRefuse);
  if (file.size != spec.bytes) {
    Fail(ExitCode::kBadInput, shown_ + name,
         "has " + Decimal(file.size) + " bytes instead of " + Decimal(spec.bytes));
  }
  if (HashFile(file, name) != spec.sha256) {
    Fail(ExitCode::kBadInput, shown_ + name, "sha256 differs from the manifest");
  }
  if (name != manifest_.model && name != manifest_.weights) return;
  const auto it = opened_.emplace(name, std::move(file)).first;
  CheckUnchanged(it->first);
}

void Part::CheckUnchanged(const std::string& name) const {
  const OpenedFile& hashed = opened_.at(name);
  struct stat by_path;
  struct stat by_fd;
  if (lstat(PathOf(name).c_str(), &by_path) != 0 || fstat(hashed.fd.get(), &by_fd) != 0 ||
      !(FileIdentity(by_path) == hashed.identity) || !(FileIdentity(by_fd) == hashed.identity)) {
    Fail(ExitCode::kBadInput, shown_ + name, "changed while it was being checked or loaded");
  }
}

}  // namespace splitc
