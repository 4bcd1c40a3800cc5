"""The ways in which the core is broken on purpose, each of which the tests must notice."""

from __future__ import annotations

from dataclasses import dataclass

RULE = "math/rule.cpp"
BLOCK = "math/block.cpp"
RESIDUAL = "math/residual.h"
DISTRIBUTION = "math/distribution.cpp"
TRUNCATION = "math/truncation.cpp"
LOOPS = "math/vector_loops.h"
RNG = "math/rng.cpp"
PANEL = "shift/panel.cpp"
WALK = "mask/llguidance/walk.cpp"
REQUEST = "decode/request.h"
ROUND = "decode/round.cpp"
JUDGE = "decode/judge.cpp"
BOTTLENECK = "math/bottleneck.cpp"
BYTE_MATRIX = "math/byte_matrix.cpp"
BASE_HEAD = "shift/base_head_model.cpp"
HEADS = "shift/shift_head_model.cpp"
SHAPER = "decode/shaper.cpp"
VERIFIER = "decode/verifier.cpp"
READERS = "decode/reader_proposer.cpp"
TABLES = "decode/table_proposer.cpp"
REPORT = "decode/report.cpp"
TEXT = "decode/text_stream.cpp"
PARAMS = "decode/params.cpp"
DECODER = "decode/decoder.cpp"
SCHEDULER = "decode/scheduler.cpp"
TREE = "decode/draft_tree.cpp"
REFINER = "decode/refiner.cpp"
MAPPED = "vocabulary/mapped_model.cpp"
READING = "vocabulary/reading.cpp"
CANONICAL = "vocabulary/canonical.cpp"

SHAPE_GOAL = """\
    const Shaped shaped = shape(terms_, shaping, workspace_, out.weights);
"""
SHAPE_TARGET_ALONE = """\
    std::vector<float> cut(out.weights.size());
    shape({terms_.data(), 1}, shaping, workspace_, cut);
    Shaping uncut = shaping;
    uncut.truncation = {};
    Shaped shaped = shape(terms_, uncut, workspace_, out.weights);
    shaped.sum = 0.0;
    for (std::size_t i = 0; i < cut.size(); ++i) {
      if (cut[i] == 0.0F) out.weights[i] = 0.0F;
      shaped.sum += static_cast<double>(out.weights[i]);
    }
"""
DRAW_DRAFT = """\
  block.set_sum(shaped.sum);
  const Token token = sample(block.proposal(i), request.uniform_of_draft(i, Purpose::proposal));
"""
DRAW_AND_REPORT = """\
  bench.weights.assign(block.weights(i).begin(), block.weights(i).end());
  const Token token = sample({{bench.weights, shaped.sum}},
                             request.uniform_of_draft(i, Purpose::proposal));
  const Term base{{growing.rows.front(), 1.0}};
  block.set_sum(shape({terms}, {shaping}, bench.workspace, block.weights(i)).sum);
"""


@dataclass(frozen=True)
class Mutant:
    """One way to be wrong. `old` occurs exactly once in cpp/rewardshift/`path`."""

    name: str
    path: str
    old: str
    new: str


MUTANTS = (
    # the rule
    Mutant(
        "subtraction dropped",
        RESIDUAL,
        "return std::max(goal(i) - proposal(i), 0.0);",
        "return goal(i);",
    ),
    Mutant(
        "subtraction dropped where tokens are drawn, not in law()",
        RESIDUAL,
        "cumulative_.find(u, [this](std::size_t i) { return (*this)(i); })",
        "cumulative_.find(u, [this](std::size_t i) { return goal(i); })",
    ),
    Mutant(
        "q and r swapped",
        PANEL,
        "    weights[shifts_[i].draft] += strengths[i];\n"
        "    if (!shifts_[i].is_head()) weights[*shifts_[i].reference] -= strengths[i];\n",
        "    weights[shifts_[i].draft] -= strengths[i];\n"
        "    if (!shifts_[i].is_head()) weights[*shifts_[i].reference] += strengths[i];\n",
    ),
    Mutant(
        "Z left out",
        RULE,
        "return rule == Rule::paper ? goal.paper_scale : 1.0;",
        "return rule == Rule::paper ? goal.paper_scale : goal.paper_scale;",
    ),
    Mutant(
        "residual not renormalised in law()",
        RULE,
        "per_residual_ = empty_ ? 0.0 : rejected / mass;",
        "per_residual_ = empty_ ? 0.0 : 1.0;",
    ),
    Mutant(
        "residual not renormalised where tokens are drawn",
        LOOPS,
        "const double goal = u * total_;",
        "const double goal = u;",
    ),
    Mutant(
        "truncation applied to p alone",
        JUDGE,
        SHAPE_GOAL,
        SHAPE_TARGET_ALONE,
    ),
    Mutant(
        "acceptance reversed",
        RULE,
        "if (accept_uniform < accept_probability(",
        "if (accept_uniform >= accept_probability(",
    ),
    Mutant(
        "truncated mass left out of the paper's scale",
        RULE,
        "std::min(std::exp(goal.log_z) * shaped.kept, kMost)",
        "std::min(std::exp(goal.log_z), kMost)",
    ),
    Mutant(
        "what rounding leaves of a residual decides",
        RULE,
        "empty_ = mass <= kRounding * rejected || mass == 0.0;",
        "empty_ = mass == 0.0;",
    ),
    Mutant(
        "greedy ties go to the highest id",
        DISTRIBUTION,
        "vector_find(count, z, top.z);",
        "static_cast<std::size_t>(std::max_element(z, z + count, std::less_equal<>()) - z);",
    ),
    Mutant(
        "extreme logits added up in float",
        DISTRIBUTION,
        "if (is_ordinary(terms, guess, temperature)) {",
        "if (true) {",
    ),
    Mutant(
        "weights relative to a token far from the best",
        DISTRIBUTION,
        "if (std::isfinite(made.sum) && is_near(made.most / temperature)) return made;",
        "if (std::isfinite(made.sum)) return made;",
    ),
    Mutant(
        "normalisers relative to a token far from the best",
        DISTRIBUTION,
        "if (!is_near(most)) own",
        "if (false) own",
    ),
    Mutant(
        "what the paper rejects taken to be its residual",
        RESIDUAL,
        "if (scale_ == 1.0) return sum_;",
        "return sum_;",
    ),
    Mutant(
        "a length of a block given up too early",
        BLOCK,
        "if (length > 0 && accept_uniforms[length - 1] >= p) continue;",
        "if (length > 0 && accept_uniforms[length - 1] >= 0.5 * p) continue;",
    ),
    Mutant(
        "top_k ties go to the highest id",
        TRUNCATION,
        "(a.first == b.first && a.second < b.second)",
        "(a.first == b.first && a.second > b.second)",
    ),
    # several shifts
    Mutant(
        "a shift's sign lost",
        DECODER,
        "params.strengths.empty() ? shifts[i].strength : params.strengths[i];",
        "params.strengths.empty() ? shifts[i].strength : std::abs(params.strengths[i]);",
    ),
    Mutant(
        "one shift's row used for another",
        JUDGE,
        "panel_->term(reader, judged.rows[part], weight)",
        "panel_->term(reader, judged.rows[part == 3 ? 2 : part], weight)",
    ),
    Mutant(
        "a reference's weight not shared among its shifts",
        PANEL,
        "weights[*shifts_[i].reference] -= strengths[i];",
        "weights[*shifts_[i].reference] = -strengths[i];",
    ),
    Mutant(
        "a reference whose weights cancel has no veto",
        PANEL,
        "if (asked[reader]) goal.push_back",
        "if (weights[reader] != 0.0) goal.push_back",
    ),
    Mutant(
        "a shift of strength 0 asked all the same",
        PANEL,
        "    if (strengths[i] == 0.0) continue;\n",
        "",
    ),
    Mutant(
        "a default strength for all",
        DECODER,
        "params.strengths.empty() ? shifts[i].strength :",
        "params.strengths.empty() ? 1.0 :",
    ),
    # random numbers
    Mutant(
        "one uniform used twice: acceptance and residual",
        VERIFIER,
        "const double residual = request.uniforms(position, Purpose::residual);",
        "const double residual = request.uniforms(position, Purpose::accept);",
    ),
    Mutant(
        "one uniform used twice: proposal and acceptance",
        VERIFIER,
        "request.uniforms(position, Purpose::accept), residual);",
        "request.uniforms(position, Purpose::proposal), residual);",
    ),
    Mutant(
        "one uniform used twice: proposal and acceptance of a block",
        VERIFIER,
        "request.uniform_of_draft(i, Purpose::accept)",
        "request.uniform_of_draft(i, Purpose::proposal)",
    ),
    Mutant(
        "one uniform for all positions of a draft",
        REQUEST,
        "return uniforms(generated + i, purpose);",
        "return uniforms(generated, purpose);",
    ),
    Mutant(
        "a block's numbers drawn again by the next",
        REQUEST,
        "if (!verifies_jointly()) return uniforms(generated + i, purpose);",
        "return uniforms(generated + i, purpose);",
    ),
    Mutant(
        "one uniform for all decisions of a round",
        VERIFIER,
        "  const std::size_t position = request.generated + request.round.path.size();\n"
        "  const double residual",
        "  const std::size_t position = request.generated;\n  const double residual",
    ),
    Mutant(
        "all streams draw alike",
        RNG,
        "                  substream_, static_cast",
        "                  0, static_cast",
    ),
    # blocks
    Mutant(
        "a block's residual without what was carried there",
        BLOCK,
        "const Residual residual(goals[length], proposals[length], p);",
        "const Residual residual(goals[length], proposals[length], 1.0);",
    ),
    Mutant(
        "a block's draft accepted by its residual alone",
        BLOCK,
        "residual.sum() / (residual.sum() + 1.0 - p)",
        "residual.sum()",
    ),
    Mutant(
        "a block carries more than all",
        BLOCK,
        "p = std::min(p * goals[i][drafted[i]] / proposals[i][drafted[i]], 1.0);",
        "p = p * goals[i][drafted[i]] / proposals[i][drafted[i]];",
    ),
    Mutant(
        "what lies behind an impossible draft ends the request",
        VERIFIER,
        "      if (i == 0) throw;\n",
        "      throw;\n",
    ),
    # the round
    Mutant(
        "bonus drawn from p",
        VERIFIER,
        "  const Token token = sample(judged.goal.weights, ",
        "  std::vector<float> alone(judged.weights.size());\n"
        "  const Term p{judged.rows.front(), 1.0};\n"
        "  Workspace workspace;\n"
        "  const Shaped shaped =\n"
        "      shape({&p, 1}, {request.params.temperature, {}, {}, {}}, workspace, alone);\n"
        "  const Weights wrong{alone, shaped.sum};\n"
        "  const Token token = sample(request.round.path.empty() ? judged.goal.weights : wrong, ",
    ),
    Mutant(
        "last draft row used again for the bonus",
        VERIFIER,
        "request.round.bonus = rows_at(request, row);",
        "request.round.bonus = rows_at(request, row > 0 ? row - 1 : 0);",
    ),
    Mutant(
        "reference row off by one",
        VERIFIER,
        "request.round.read[part.reader][row]",
        "request.round.read[part.reader][part.reader > 1 && row > 0 ? row - 1 : row]",
    ),
    Mutant(
        "target row off by one",
        VERIFIER,
        "request.round.read[part.reader][row]",
        "request.round.read[part.reader][part.reader == 0 && row > 0 ? row - 1 : row]",
    ),
    Mutant(
        "reported proposal is not the one drawn from",
        READERS,
        DRAW_DRAFT,
        DRAW_AND_REPORT.format(
            terms="bench.terms", shaping="{request.params.temperature, {}, {}, {}}"
        ),
    ),
    Mutant(
        "a shifted base reported as plain",
        READERS,
        DRAW_DRAFT,
        DRAW_AND_REPORT.format(
            terms="{&base, 1}", shaping="bench.shaper.after(request, growing.path)"
        ),
    ),
    Mutant(
        "penalties do not see the drafted tokens",
        SHAPER,
        "adjustments_at(params, text_, adjustments_);",
        "adjustments_at(params,\n"
        "                 std::span<const Token>(text_).first(\n"
        "                     text_.size() < drafts.size() ? 0 : text_.size() - drafts.size()),\n"
        "                 adjustments_);",
    ),
    Mutant(
        "readers draft from the target's prompt",
        READERS,
        "growing.asked[part] = request.history[proposal[part].reader];",
        "growing.asked[part] = request.history[0];",
    ),
    Mutant(
        "rows kept for the bonus are another's",
        VERIFIER,
        "row = kept_rows_.emplace_back(row.begin(), row.end());",
        "kept_rows_.emplace_back(row.begin(), row.end());\n      row = kept_rows_.front();",
    ),
    Mutant(
        "rows the next call overwrites are not kept",
        VERIFIER,
        "    keep_bonus_rows(requests, model);\n",
        "",
    ),
    Mutant(
        "one sequence for draft and reference",
        PANEL,
        "range_of_[reader] * (places_ + 1)",
        "range_of_[reader] * 0",
    ),
    Mutant(
        "a measured length for a seed",
        "decode/planner.cpp",
        "is_calibrated && !params.num_draft_tokens && !params.reproducible",
        "is_calibrated && !params.num_draft_tokens",
    ),
    Mutant(
        "end of generation does not end",
        DECODER,
        "if (last || stopped) {",
        "if (stopped) {",
    ),
    Mutant(
        "paper's log-probabilities are those of pi*",
        REPORT,
        "if (is_papers && !is_greedy",
        "if (!is_papers && !is_greedy",
    ),
    Mutant(
        "drafts behind a stop string count as accepted",
        "decode/statistics.cpp",
        "const std::size_t kept = std::min(accepted_tokens, emitted);",
        "const std::size_t kept = accepted_tokens;",
    ),
    # drafts that no model makes
    Mutant(
        "a quotation that is not certain",
        TABLES,
        "    const WeightedToken certain{1.0, token};\n    block.set_law({&certain, 1});\n",
        "    const WeightedToken halves[] = {{0.5, token}, {0.5, token == 0 ? 1 : 0}};\n"
        "    block.set_law(halves);\n",
    ),
    # masks
    Mutant(
        "mask on the goal but not on the readers' proposal",
        READERS,
        "shaping = bench.shaper.after(request, growing.path);",
        "shaping = bench.shaper.after(request, growing.path);\n  shaping.allowed = {};",
    ),
    Mutant(
        "mask on the goal but not on tables and quotations",
        TABLES,
        "if (request.walk == nullptr) return true;",
        "return true;",
    ),
    Mutant(
        "mask on the proposal but not on the goal",
        JUDGE,
        "const Shaping shaping = shaper_.after(request, drafts);",
        "Shaping shaping = shaper_.after(request, drafts);\n  shaping.allowed = {};",
    ),
    Mutant(
        "the mask does not see the drafted tokens",
        SHAPER,
        "subspan(request.prompt_size.front());",
        "subspan(request.prompt_size.front(), request.generated);",
    ),
    Mutant(
        "a mask remembered after its prefix was left",
        WALK,
        "if (kept.length && *kept.length > length) kept.length.reset();",
        "if (kept.length && *kept.length > length + 1000) kept.length.reset();",
    ),
    Mutant(
        "the grammar not rolled back after rejected drafts",
        WALK,
        "status = call.matcher_rollback(matcher_.get(), at_ - length);",
        "status = 0;",
    ),
    Mutant(
        "a token forced where two may follow",
        "mask/mask.cpp",
        "if (only || !std::has_single_bit(mask[i])) return std::nullopt;",
        "if (only) return std::nullopt;",
    ),
    # text and limits
    Mutant(
        "streamed text shows the beginning of a stop string",
        TEXT,
        "return release(std::min(possible_stop(), unfinished_character(text_)));",
        "return release(unfinished_character(text_));",
    ),
    Mutant(
        "stop strings found only inside a token",
        TEXT,
        "const std::size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;",
        "const std::size_t from = before;",
    ),
    Mutant(
        "penalty window counts from the beginning",
        PARAMS,
        "history.last(std::min(",
        "history.first(std::min(",
    ),
    Mutant(
        "finished requests keep their sequence",
        "decode/scheduler.cpp",
        "if (request->places.empty() || request->is_finished()) continue;",
        "if (request->places.empty()) continue;",
    ),
    # trees
    Mutant(
        "goal left as it was after a rejection in a tree",
        RULE,
        "of_token = std::max(of_token - scale * weight, 0.0);",
        "of_token = std::max(of_token, 0.0 * scale * weight);",
    ),
    Mutant(
        "residual of a tree not renormalised",
        RULE,
        "(i == 0 ? goal[drafted[i]] : left[x]) / mass;",
        "(i == 0 ? goal[drafted[i]] : left[x]);",
    ),
    Mutant("drawn with replacement", RULE, "    drawn->first = 0.0;\n", ""),
    Mutant(
        "proposal of a tree not renormalised",
        RULE,
        "drawn->first / proposal_mass, 1.0)",
        "drawn->first, 1.0)",
    ),
    Mutant(
        "one uniform for all drafts of a position",
        VERIFIER,
        "request.uniforms(position, Purpose::accept, i)",
        "request.uniforms(position, Purpose::accept, i > 64 ? i : 0)",
    ),
    Mutant(
        "a tree's draws used again by the next round's",
        "decode/proposer.h",
        "return request.uniforms(request.generated, Purpose::proposal,",
        "return request.uniforms(0, Purpose::proposal,",
    ),
    Mutant(
        "a branch scored without what it branches from",
        ROUND,
        "block.append_path(end, tokens);",
        "block.append_path(end, tokens);\n"
        "    if (i > 0 && block.follows[i] > 0) tokens[before] = block.tokens[i];",
    ),
    Mutant(
        "the accepted branch not followed",
        VERIFIER,
        "  request.follow_path();\n",
        "",
    ),
    Mutant(
        "the tree keeps only the better draws",
        TREE,
        "  from.children.push_back(static_cast<int>(nodes_.size()));\n",
        "  if (probability < 0.3) return;\n"
        "  from.children.push_back(static_cast<int>(nodes_.size()));\n",
    ),
    Mutant(
        "scores shifted by one",
        "decode/scorer.cpp",
        "at.push_back(rows_[part.reader][i]);",
        "at.push_back(rows_[part.reader][i > 0 ? i - 1 : 0]);",
    ),
    # other vocabularies
    Mutant(
        "pieces after the first left out",
        MAPPED,
        "if (pieces.size() < 2) continue;",
        "continue;",
    ),
    Mutant(
        "a piece weighed behind itself",
        MAPPED,
        "tokens.push_back(pieces[next - 1]);",
        "tokens.push_back(pieces[next]);",
    ),
    Mutant(
        "rows of another vocabulary not normalised",
        MAPPED,
        "scratch_[i] = row[i] - z;",
        "scratch_[i] = row[i] - 0.0F * z;",
    ),
    Mutant(
        "later pieces instead of the first",
        REFINER,
        "copy[static_cast<std::size_t>(token)] += more;",
        "copy[static_cast<std::size_t>(token)] = more;",
    ),
    Mutant(
        "rows after drafts are not refined",
        REFINER,
        "row <= end; ++row) {",
        "row < 1; ++row) {",
    ),
    Mutant(
        "the last row of a block is not refined",
        REFINER,
        "row <= end; ++row) {",
        "row < std::max<std::size_t>(end, 1); ++row) {",
    ),
    Mutant(
        "tokens of any share are refined",
        REFINER,
        "  out.erase(std::ranges::find_if_not(out, is_likely), out.end());\n",
        "  static_cast<void>(is_likely);\n",
    ),
    Mutant(
        "text that was taken back is read on",
        READING,
        "  text_.resize(marks_.back().text);\n",
        "",
    ),
    Mutant(
        "a text begins twice",
        READING,
        "  if (is_first && token == map_->target().begin) return;\n",
        "",
    ),
    Mutant(
        "bytes that are no characters left out",
        CANONICAL,
        "    spell(text.substr(0, broken), tokens);\n",
        "",
    ),
    # heads
    Mutant(
        "the last inputs of a matrix left out",
        BYTE_MATRIX,
        "for (; k < in_; ++k) {",
        "for (; k + 1 < in_; ++k) {",
    ),
    Mutant(
        "a head's bias left out",
        BOTTLENECK,
        "std::tanh(sum + static_cast<double>(weights_.bias[k]))",
        "std::tanh(sum)",
    ),
    Mutant(
        "a head's rows are those of the first feature",
        HEADS,
        "rows_.push_back(values_.data() + i * head_->vocab_size());",
        "rows_.push_back(values_.data());",
    ),
    Mutant(
        "heads are asked before the target",
        PANEL,
        "for (const bool heads : {false, true}) {",
        "for (const bool heads : {true, false}) {",
    ),
    Mutant(
        "heads take part in proposals",
        PANEL,
        "    if (shifts_by_head(reader)) continue;\n",
        "",
    ),
    Mutant(
        "what a head says is told as it is",
        JUDGE,
        "  normalise_heads(request, judged, wants_z ? request.params.temperature : 1.0);\n",
        "",
    ),
    Mutant(
        "a head's law at another temperature",
        JUDGE,
        "(is_at_one ? at_one : at(temperature)) - alone.tempered",
        "at_one - alone.tempered",
    ),
    Mutant(
        "a head that drafts begins at the feature before",
        BASE_HEAD,
        "const std::size_t end = first_draft(request) - 1;",
        "const std::size_t end = std::max<std::size_t>(first_draft(request), 2) - 2;",
    ),
    Mutant(
        "a head that drafts leaves out its first token",
        BASE_HEAD,
        "request.tokens.subspan(drafts - 1), silent, row",
        "request.tokens.subspan(drafts), silent, row",
    ),
    Mutant(
        "tokens that a head does not know look like the first that it knows",
        "math/base_head.cpp",
        "if (found == weights_.tokens.end() || *found != token) {",
        "if (found == weights_.tokens.end()) {",
    ),
    Mutant(
        "what a sequence told of another history counts",
        "told_features.h",
        "             std::ranges::equal(std::span(tokens).first(size), request.tokens);\n",
        "             size > 0;\n",
    ),
    Mutant(
        "features that another sequence told are lost with it",
        "told_features.h",
        "  if (!untold().empty()) model.logits(requests);",
        "  if (false) model.logits(requests);",
    ),
    Mutant(
        "snapshots count of a state that a later part of the batch moved",
        "llama/snapshot_cache.cpp",
        "return is_last && is_in_one_graph(begin, end) ? found->tokens : 0;",
        "return is_last || is_in_one_graph(begin, end) ? found->tokens : 0;",
    ),
    # the schedule
    Mutant(
        "a prompt that is left to a round counts for nothing in the chunk",
        SCHEDULER,
        "      left -= fresh;\n      budget -= fresh;\n",
        "",
    ),
    Mutant(
        "prompts that begin alike are each read whole",
        SCHEDULER,
        "known > done && !model.joins_histories()",
        "false",
    ),
    Mutant(
        "a chunk leaves a token of a prompt out",
        SCHEDULER,
        "request->prefilled[reader] = end;",
        "request->prefilled[reader] = end + 1;",
    ),
)
