// Edges of every net within a clock cycle, many cycles at once: bit t of a vector is the way from cycle t to the next.
//
// A gate's output heads for a target; where that differs from its value, an edge is due some steps later. When the
// target changes again before that, the edge is taken back: the pulse was shorter than the gate's delay.
//
// Before this file comes the table of the gates' functions, FUNCTIONS[kind](inputs, ones, output, words).
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace {


using Vector = std::unique_ptr<bits[]>;

struct Gates {
  size_t count;
  const int32_t* kind;
  const int32_t* first;   // of gate g: places first[g] to first[g + 1] of inputs and delays
  const int32_t* inputs;  // nets
  const int32_t* output;  // net
  const int32_t* delays;  // [fall, rise] of every input, in steps
};

struct Sources {
  size_t count;
  const int32_t* time;  // ascending
  const int32_t* net;
  const bits* changed;
};

struct Counts {
  int64_t* rises;
  int64_t* edges;
};

class Simulation {
 public:
  Simulation(size_t words, size_t nets, const Gates& gates, const bits* ones, bits* values, Counts counts)
      : words_(words), gates_(gates), ones_(ones), values_(values), counts_(counts), readers_(nets), due_(gates.count),
        moved_(gates.count), target_(gates.count * words), wheel_(1) {
    int32_t longest = 1;
    for (size_t g = 0; g < gates.count; g++) {
      for (int32_t i = gates.first[g]; i < gates.first[g + 1]; i++) {
        readers_[gates.inputs[i]].push_back({int32_t(g), i - gates.first[g]});
        longest = std::max({longest, gates.delays[2 * i], gates.delays[2 * i + 1]});
      }
      std::copy_n(value(gates.output[g]), words, target_.begin() + g * words);
    }
    wheel_.resize(longest + 1);
  }

  // at_half and early: values and counts when the clock falls.
  void run(const Sources& sources, int32_t half, bits* at_half, Counts early) {
    size_t next = 0, nets = readers_.size();
    bool fallen = false;
    for (int32_t time = 0; next < sources.count || pending_; time++) {
      std::vector<int32_t> gates = std::move(slot(time));
      slot(time).clear();
      pending_ -= gates.size();
      if (gates.empty() && (next == sources.count || sources.time[next] != time)) continue;
      if (!fallen && time >= half) {
        fallen = true;
        copy_state(at_half, early, nets);
      }
      for (; next < sources.count && sources.time[next] == time; next++)
        change(sources.net[next], copied(sources.changed + next * words_));
      for (int32_t gate : gates) change(gates_.output[gate], taken(gate, time));
      for (int32_t gate : dirty_) evaluate(time, gate);
      dirty_.clear();
      for (Vector& vector : applied_) free_.push_back(std::move(vector));
      applied_.clear();
    }
    if (!fallen) copy_state(at_half, early, nets);
  }

 private:
  struct Reader {
    int32_t gate, position;
  };
  struct Edge {
    int32_t time;
    Vector where;
  };
  struct Moved {
    int32_t position;
    const bits* where;
  };

  bits* value(int32_t net) { return values_ + size_t(net) * words_; }
  std::vector<int32_t>& slot(int32_t time) { return wheel_[time % wheel_.size()]; }

  void copy_state(bits* at_half, Counts early, size_t nets) {
    std::copy_n(values_, nets * words_, at_half);
    std::copy_n(counts_.rises, nets, early.rises);
    std::copy_n(counts_.edges, nets, early.edges);
  }

  Vector fresh() {
    if (free_.empty()) return Vector(new bits[words_]);
    Vector vector = std::move(free_.back());
    free_.pop_back();
    return vector;
  }

  Vector copied(const bits* from) {
    Vector vector = fresh();
    std::copy_n(from, words_, vector.get());
    return vector;
  }

  Vector taken(int32_t gate, int32_t time) {
    auto& due = due_[gate];
    auto found = std::find_if(due.begin(), due.end(), [&](const Edge& edge) { return edge.time == time; });
    Vector vector = std::move(found->where);
    due.erase(found);
    return vector;
  }

  void change(int32_t net, Vector where) {
    bits* now = value(net);
    int64_t edges = 0, rises = 0;
    for (size_t w = 0; w < words_; w++) {
      now[w] ^= where[w];
      edges += __builtin_popcountll(where[w]);
      rises += __builtin_popcountll(where[w] & now[w]);
    }
    if (edges) {
      counts_.edges[net] += edges;
      counts_.rises[net] += rises;
      for (const Reader& reader : readers_[net]) {
        if (moved_[reader.gate].empty()) dirty_.push_back(reader.gate);
        moved_[reader.gate].push_back({reader.position, where.get()});
      }
    }
    applied_.push_back(std::move(where));  // gates still look at it in this step
  }

  void evaluate(int32_t time, int32_t gate) {
    auto moved = std::move(moved_[gate]);
    moved_[gate].clear();
    inputs_.clear();
    for (int32_t i = gates_.first[gate]; i < gates_.first[gate + 1]; i++) inputs_.push_back(value(gates_.inputs[i]));
    Vector target = fresh(), differs = fresh();
    FUNCTIONS[gates_.kind[gate]](inputs_.data(), ones_, target.get(), words_);
    bits* old = target_.data() + size_t(gate) * words_;
    bits any = 0;
    for (size_t w = 0; w < words_; w++) {
      any |= differs[w] = target[w] ^ old[w];
      old[w] = target[w];
    }
    if (any) {
      for (Edge& edge : due_[gate])
        for (size_t w = 0; w < words_; w++) edge.where[w] &= ~differs[w];
      const bits* now = value(gates_.output[gate]);
      for (size_t w = 0; w < words_; w++) {
        const bits wanted = differs[w] & (target[w] ^ now[w]);
        target[w] &= wanted;              // rising
        differs[w] = wanted ^ target[w];  // falling
      }
      schedule(time, gate, moved, target.get(), differs.get());
    }
    free_.push_back(std::move(target));
    free_.push_back(std::move(differs));
  }

  // Edges after the delay from the input that moved; where several did at once, from the first pin of them.
  void schedule(int32_t time, int32_t gate, std::vector<Moved>& moved, bits* rising, bits* falling) {
    std::sort(moved.begin(), moved.end(), [](const Moved& a, const Moved& b) { return a.position < b.position; });
    for (const Moved& input : moved) {
      const bits* where = &input == &moved.back() ? ones_ : input.where;
      const int32_t* delays = gates_.delays + 2 * (gates_.first[gate] + input.position);
      later(time + delays[1], gate, rising, where);
      later(time + delays[0], gate, falling, where);
    }
  }

  // Move edges[where] to those that are due at a time.
  void later(int32_t time, int32_t gate, bits* edges, const bits* where) {
    bits any = 0;
    for (size_t w = 0; w < words_; w++) any |= edges[w] & where[w];
    if (!any) return;
    auto& due = due_[gate];
    auto found = std::find_if(due.begin(), due.end(), [&](const Edge& edge) { return edge.time == time; });
    if (found == due.end()) {
      due.push_back({time, fresh()});
      found = due.end() - 1;
      std::fill_n(found->where.get(), words_, 0);
      slot(time).push_back(gate);
      pending_++;
    }
    for (size_t w = 0; w < words_; w++) {
      found->where[w] |= edges[w] & where[w];
      edges[w] &= ~where[w];
    }
  }

  size_t words_;
  const Gates gates_;
  const bits* ones_;
  bits* values_;
  Counts counts_;
  std::vector<std::vector<Reader>> readers_;
  std::vector<std::vector<Edge>> due_;
  std::vector<std::vector<Moved>> moved_;
  std::vector<bits> target_;
  std::vector<std::vector<int32_t>> wheel_;  // gates with edges due, by time modulo the longest delay + 1
  std::vector<int32_t> dirty_;
  std::vector<const bits*> inputs_;
  std::vector<Vector> applied_, free_;
  size_t pending_ = 0;
};

}  // namespace

extern "C" void slipstick_glitches(size_t words, size_t nets, size_t gates, const int32_t* kind, const int32_t* first,
                                   const int32_t* inputs, const int32_t* output, const int32_t* delays,
                                   size_t sources, const int32_t* time, const int32_t* net, const bits* changed,
                                   int32_t half, const bits* ones, bits* values, bits* at_half, int64_t* rises,
                                   int64_t* edges, int64_t* early_rises, int64_t* early_edges) {
  Simulation simulation(words, nets, {gates, kind, first, inputs, output, delays}, ones, values, {rises, edges});
  simulation.run({sources, time, net, changed}, half, at_half, {early_rises, early_edges});
}
