// SPDX-License-Identifier: Apache-2.0
//
// The part of the TVM FFI C ABI that the runner uses.

#include "tvm_abi.h"

#include <dlfcn.h>

#include <cstring>
#include <utility>

#include "text.h"

namespace splitc {

TvmValue::TvmValue(TvmValue&& other) noexcept
    : abi_(other.abi_), value_(std::exchange(other.value_, TVMFFIAny{})) {}

TvmValue& TvmValue::operator=(TvmValue&& other) noexcept {
  std::swap(abi_, other.abi_);
  std::swap(value_, other.value_);
  return *this;
}

TvmValue::~TvmValue() {
  if (is_object()) abi_->dec_ref_(value_.v_obj);
}

TVMFFIAny TvmInt(int64_t value) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIInt;
  any.v_int64 = value;
  return any;
}

TVMFFIAny TvmBool(bool value) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIBool;
  any.v_int64 = value ? 1 : 0;
  return any;
}

TVMFFIAny TvmString(const char* text) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIRawStr;
  any.v_c_str = text;
  return any;
}

template <typename Function>
void TvmAbi::Resolve(void* library, const char* name, Function* out) {
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) Fail(ExitCode::kCannotLoad, "TVM runtime", std::string("lacks ") + name);
  static_assert(sizeof symbol == sizeof *out, "POSIX needs function pointers to fit void*");
  std::memcpy(out, &symbol, sizeof symbol);
}

TvmAbi::TvmAbi(void* library) {
  Resolve(library, "TVMFFIGetVersion", &get_version_);
  // The version call is the one thing that is the same in every ABI; before
  // version 1, a change of the minor number may change the rest.
  TVMFFIVersion version{};
  get_version_(&version);
  if (version.major != TVM_FFI_VERSION_MAJOR || version.minor != TVM_FFI_VERSION_MINOR) {
    Fail(ExitCode::kCannotLoad, "TVM runtime",
         "unsupported FFI version " + Decimal(version.major) + "." +
             Decimal(version.minor));
  }
  Resolve(library, "TVMFFIObjectDecRef", &dec_ref_);
  Resolve(library, "TVMFFIFunctionGetGlobal", &get_global_);
  Resolve(library, "TVMFFIFunctionCall", &call_);
  Resolve(library, "TVMFFIErrorMoveFromRaised", &move_raised_);
  Resolve(library, "TVMFFITensorFromDLPack", &from_dlpack_);
}

void TvmAbi::FailWithRaised(TvmContext context) const {
  TVMFFIObjectHandle error = nullptr;
  move_raised_(&error);
  std::string why = "unknown error";
  if (error != nullptr) {
    const TVMFFIErrorCell* cell = TVMFFIErrorGetCellPtr(error);
    why.assign(cell->kind.data, cell->kind.size);
    why += ": ";
    why.append(cell->message.data, cell->message.size);
    dec_ref_(error);
  }
  Fail(context.code, context.what, why);
}

TvmValue TvmAbi::GlobalFunction(const char* name) const {
  const TVMFFIByteArray key{name, std::strlen(name)};
  TVMFFIAny any{};
  TVMFFIObjectHandle function = nullptr;
  const TvmContext context{ExitCode::kCannotLoad, "TVM runtime"};
  if (get_global_(&key, &function) != 0) FailWithRaised(context);
  if (function == nullptr) Fail(context.code, context.what, std::string("lacks ") + name);
  any.type_index = kTVMFFIFunction;
  any.v_obj = static_cast<TVMFFIObject*>(function);
  return TvmValue(this, any);
}

TvmValue TvmAbi::Call(const TvmValue& function, std::vector<TVMFFIAny> args,
                      TvmContext context) const {
  TVMFFIAny result{};
  const int32_t count = static_cast<int32_t>(args.size());
  if (call_(function.object(), args.data(), count, &result) != 0) FailWithRaised(context);
  return TvmValue(this, result);
}

TvmValue TvmAbi::TensorFromDLPack(DLManagedTensor* managed, int32_t alignment) const {
  TVMFFIObjectHandle tensor = nullptr;
  if (from_dlpack_(managed, alignment, 1, &tensor) != 0) {
    FailWithRaised({ExitCode::kOther, "input tensor"});
  }
  TVMFFIAny any{};
  any.type_index = kTVMFFITensor;
  any.v_obj = static_cast<TVMFFIObject*>(tensor);
  return TvmValue(this, any);
}

}  // namespace splitc
