// C++ exceptions become the classes of rewardshift.errors.
#include <new>

#include "bindings.h"
#include "rewardshift/error.h"

namespace rewardshift::bindings {
namespace {

template <class... Figures>
void raise(const char* name, const std::exception& error, Figures... figures) {
  const nb::object type = nb::module_::import_("rewardshift.errors").attr(name);
  const nb::object value = type(to_str(error.what()), figures...);
  PyErr_SetObject(type.ptr(), value.ptr());
}

void translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ContextOverflowError& e) {
    raise("ContextOverflowError", e, e.needed, e.available);
  } catch (const OutOfMemoryError& e) {
    raise("OutOfMemoryError", e, e.bytes);
  } catch (const ModelLoadError& e) {
    raise("ModelLoadError", e);
  } catch (const VocabularyMismatchError& e) {
    raise("VocabularyMismatchError", e);
  } catch (const GrammarError& e) {
    raise("GrammarError", e);
  } catch (const EvaluationError& e) {
    raise("EvaluationError", e);
  } catch (const CancelledError& e) {
    raise("CancelledError", e);
  } catch (const Error& e) {
    raise("Error", e);
  }
}

}  // namespace

void register_errors(nb::module_&) { nb::register_exception_translator(translate); }

}  // namespace rewardshift::bindings
