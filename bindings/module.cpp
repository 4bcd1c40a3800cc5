#include "bindings.h"

NB_MODULE(_core, m) {
  m.doc() = "The C++ core of rewardshift. Private: use the rewardshift package.";
  m.attr("version") = REWARDSHIFT_VERSION;
  using namespace rewardshift::bindings;
  register_errors(m);
  register_grammar(m);
  register_ngram_table(m);
  register_options(m);
  register_rule(m);
  register_system(m);
  register_model(m);
  register_language_model(m);
  register_head(m);
  register_vocabulary(m);
  register_draft_policy(m);
  register_decoder(m);
}
