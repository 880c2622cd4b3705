// SPDX-License-Identifier: Apache-2.0
//
// A part's folder on disk, checked against its manifest.

#ifndef SPLITC_RUNNER_PART_H_
#define SPLITC_RUNNER_PART_H_

#include <map>
#include <string>

#include "file_util.h"
#include "manifest.h"

namespace splitc {

// Checks everything while it is built: the manifest, that the folder holds
// nothing unexpected, and the size and hash of every listed file.
//
// The model and the weights stay open, and CheckUnchanged compares what a path names now
// with what was hashed. Weights are mapped from what is open. The dynamic loader only takes
// paths, so calling it right before and right after loading leaves this: someone who can
// write to the folder, and who swaps a file within that moment, is noticed only once the
// loaded code's initialisers ran. Such a person could as well rewrite the manifest, which is
// not signed; the check is for folders that are updated while in use.
class Part {
 public:
  // Messages name files below `shown`, where there are other parts to tell them from.
  explicit Part(const std::string& folder, const std::string& shown = "");

  const Manifest& manifest() const { return manifest_; }

  // Absolute, so that the dynamic loader does not search for it.
  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }

  // The folder of that name beside the part's own.
  std::string Beside(const std::string& name) const;

  // The file that was hashed, `name` being the model or the weights.
  const OpenedFile& Opened(const std::string& name) const { return opened_.at(name); }

  // Fails (kBadInput) if what is at the path of `name` (the model or the weights) is no longer
  // the very file that was hashed.
  void CheckUnchanged(const std::string& name) const;

 private:
  void ReadManifest();
  void CheckNoStrangers() const;
  void CheckFile(const std::string& name, const FileSpec& spec);

  std::string folder_;
  std::string shown_;
  UniqueFd folder_fd_;
  Manifest manifest_;
  std::map<std::string, OpenedFile> opened_;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_PART_H_
