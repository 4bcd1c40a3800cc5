// Grammars compiled by llguidance.
#pragma once

#include <memory>
#include <string>

#include "rewardshift/mask/llguidance/grammar_text.h"
#include "rewardshift/mask/llguidance/vocabulary.h"
#include "rewardshift/mask/mask.h"

namespace rewardshift::llguidance {

/// Compiles a grammar. May be called from several threads.
///
/// Throws GrammarError, which says where, for one that is wrong, that check_text() refuses, or that
/// exceeds llguidance's own limits.
std::shared_ptr<const Grammar> compile(std::shared_ptr<const Vocabulary> vocabulary,
                                       Language language, const std::string& text);

}  // namespace rewardshift::llguidance
