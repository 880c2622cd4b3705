// SPDX-License-Identifier: Apache-2.0
//
// The part of the TVM FFI C ABI that the runner uses, resolved with dlsym at run
// time. The program must not be linked against the library: it would then be
// loaded before its hash could be checked.

#ifndef SPLITC_RUNNER_TVM_ABI_H_
#define SPLITC_RUNNER_TVM_ABI_H_

#include <tvm/ffi/c_api.h>

#include <string>
#include <vector>

#include "error.h"

namespace splitc {

class TvmAbi;

// One owned value: gives up its reference, if it is an object, when destroyed.
class TvmValue {
 public:
  TvmValue() = default;
  TvmValue(const TvmAbi* abi, const TVMFFIAny& owned) : abi_(abi), value_(owned) {}
  TvmValue(TvmValue&& other) noexcept;
  TvmValue& operator=(TvmValue&& other) noexcept;
  ~TvmValue();

  bool is(TVMFFITypeIndex type) const { return value_.type_index == type; }
  bool is_object() const { return value_.type_index >= kTVMFFIStaticObjectBegin; }
  TVMFFIObjectHandle object() const { return value_.v_obj; }
  int64_t integer() const { return value_.v_int64; }

  // For passing it as an argument: borrowed, not counted.
  const TVMFFIAny& view() const { return value_; }

 private:
  const TvmAbi* abi_ = nullptr;
  TVMFFIAny value_{};
};

// Borrowed arguments.
TVMFFIAny TvmInt(int64_t value);
TVMFFIAny TvmBool(bool value);
TVMFFIAny TvmString(const char* text);  // `text` must outlive the call

// What a failing call is to be reported as.
struct TvmContext {
  ExitCode code;
  const char* what;
};

class TvmAbi {
 public:
  // `library` is the dlopen handle of libtvm_ffi.so.
  explicit TvmAbi(void* library);
  TvmAbi(const TvmAbi&) = delete;  // values point back to it
  TvmAbi& operator=(const TvmAbi&) = delete;

  // The function registered under `name`; fails if there is none.
  TvmValue GlobalFunction(const char* name) const;

  TvmValue Call(const TvmValue& function, std::vector<TVMFFIAny> args, TvmContext context) const;

  // A tensor that calls the deleter of `managed` when it dies. If this fails,
  // `managed` still belongs to the caller.
  TvmValue TensorFromDLPack(DLManagedTensor* managed, int32_t alignment) const;

 private:
  friend class TvmValue;

  template <typename Function>
  void Resolve(void* library, const char* name, Function* out);
  [[noreturn]] void FailWithRaised(TvmContext context) const;

  decltype(&TVMFFIGetVersion) get_version_ = nullptr;
  decltype(&TVMFFIObjectDecRef) dec_ref_ = nullptr;
  decltype(&TVMFFIFunctionGetGlobal) get_global_ = nullptr;
  decltype(&TVMFFIFunctionCall) call_ = nullptr;
  decltype(&TVMFFIErrorMoveFromRaised) move_raised_ = nullptr;
  decltype(&TVMFFITensorFromDLPack) from_dlpack_ = nullptr;
};

}  // namespace splitc

#endif  // SPLITC_RUNNER_TVM_ABI_H_
