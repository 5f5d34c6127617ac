// THREAD: ORDEREDSUBJECT and REFERENCES, RFC 5256 section 3.
#include "search.hpp"

#include <algorithm>
#include <deque>
#include <unordered_map>

#include <fmt/format.h>

namespace postern::testimapd {

namespace {

struct Node {
  const Message* message = nullptr;  // null: a dummy
  Node* parent = nullptr;
  std::vector<Node*> children;

  std::int64_t date() const {
    return message != nullptr ? sent_time(*message) : children.empty() ? 0 : children.front()->date();
  }
  std::uint32_t uid() const {
    return message != nullptr ? message->uid : children.empty() ? 0 : children.front()->uid();
  }
};

class Threader {
 public:
  explicit Threader(const std::vector<const Message*>& messages) {
    for (const Message* message : messages) add(*message);
    for (Node& node : nodes_)
      if (node.parent == nullptr) roots_.push_back(&node);
  }
  std::vector<Node*> finish() {
    roots_ = prune(roots_, true);
    sort(roots_);
    merge_subjects();
    sort(roots_);
    return roots_;
  }

 private:
  Node* node_of(const std::string& id) {
    auto [found, made] = by_id_.try_emplace(id, nullptr);
    if (made) found->second = &nodes_.emplace_back();
    return found->second;
  }
  static bool is_ancestor(const Node* candidate, const Node* node) {
    for (; node != nullptr; node = node->parent)
      if (node == candidate) return true;
    return false;
  }
  static void link(Node* parent, Node* child) {
    if (is_ancestor(child, parent)) return;
    if (child->parent != nullptr) std::erase(child->parent->children, child);
    child->parent = parent;
    parent->children.push_back(child);
  }
  void add(const Message& message);
  static std::vector<Node*> prune(const std::vector<Node*>& level, bool roots);
  static void sort(std::vector<Node*>& level);
  void merge_subjects();

  std::deque<Node> nodes_;
  std::unordered_map<std::string, Node*> by_id_;
  std::vector<Node*> roots_;
};

// Step 1 of the algorithm.
void Threader::add(const Message& message) {
  auto slots = message.slots();
  auto id = message.body->message_id.fill(slots);
  Node* node = id.empty() ? nullptr : node_of(id);
  if (node == nullptr || node->message != nullptr)  // no id, or one that was seen before
    node = &nodes_.emplace_back();
  node->message = &message;
  Node* previous = nullptr;
  for (const Slotted& reference : message.body->references) {
    Node* next = node_of(reference.fill(slots));
    if (previous != nullptr && next->parent == nullptr && next != previous) link(previous, next);
    previous = next;
  }
  if (previous != nullptr && previous != node) link(previous, node);
}

// Step 3: dummies without children go, others give way to their children, unless they hold a root together.
std::vector<Node*> Threader::prune(const std::vector<Node*>& level, bool roots) {
  std::vector<Node*> out;
  for (Node* node : level) {
    node->children = prune(node->children, false);
    if (node->message != nullptr || (roots && node->children.size() > 1)) {
      out.push_back(node);
      continue;
    }
    for (Node* child : node->children) {
      child->parent = node->parent;
      out.push_back(child);
    }
  }
  return out;
}

void Threader::sort(std::vector<Node*>& level) {
  for (Node* node : level) sort(node->children);
  std::sort(level.begin(), level.end(), [](const Node* left, const Node* right) {
    return std::pair(left->date(), left->uid()) < std::pair(right->date(), right->uid());
  });
}

// Step 5: roots with the same base subject come together.
void Threader::merge_subjects() {
  auto first_message = [](const Node* node) {
    return node->message != nullptr ? node->message : node->children.front()->message;
  };
  auto subject_of = [&](const Node* node) { return base_subject_of(*first_message(node)); };
  std::unordered_map<std::string, Node*> table;
  for (Node* root : roots_) {
    auto subject = subject_of(root);
    if (subject.empty()) continue;
    auto [found, made] = table.try_emplace(subject, root);
    Node* old = found->second;
    if (made || old->message == nullptr) continue;
    bool old_is_reply = old->message->body->reply_or_forward;
    if (root->message == nullptr || (old_is_reply && !root->message->body->reply_or_forward))
      found->second = root;
  }
  std::vector<Node*> kept;
  for (Node* root : roots_) {
    auto subject = subject_of(root);
    auto found = table.find(subject);
    if (subject.empty() || found == table.end() || found->second == root) {
      kept.push_back(root);
      continue;
    }
    Node* other = found->second;
    if (root->message == nullptr && other->message == nullptr) {
      for (Node* child : std::vector(root->children)) link(other, child);
    } else if (other->message == nullptr ||
               (root->message != nullptr && root->message->body->reply_or_forward &&
                !other->message->body->reply_or_forward)) {
      link(other, root);
    } else {
      Node* dummy = &nodes_.emplace_back();
      link(dummy, other);
      link(dummy, root);
      found->second = dummy;
      auto place = std::find(kept.begin(), kept.end(), other);
      if (place != kept.end())
        *place = dummy;
      else
        kept.push_back(dummy);
    }
  }
  std::erase_if(kept, [](const Node* node) { return node->parent != nullptr; });
  roots_ = std::move(kept);
}

using Numbers = std::function<std::uint32_t(std::uint32_t)>;

// thread-members = nz-number *(SP nz-number) [SP thread-nested]; thread-nested = 2*thread-list
void print(std::string& out, const Node* node, const Numbers& number_of) {
  bool first = true;
  for (;;) {
    if (node->message != nullptr) {
      fmt::format_to(std::back_inserter(out), "{}{}", first ? "" : " ", number_of(node->message->uid));
      first = false;
    }
    if (node->children.size() != 1) break;
    node = node->children.front();
  }
  if (!first && !node->children.empty()) out += ' ';
  for (const Node* child : node->children) {
    out += '(';
    print(out, child, number_of);
    out += ')';
  }
}

}  // namespace

std::string thread_by_references(const std::vector<const Message*>& messages, const Numbers& number_of) {
  Threader threader(messages);
  std::string out;
  for (const Node* root : threader.finish()) {
    out += '(';
    print(out, root, number_of);
    out += ')';
  }
  return out;
}

std::string thread_by_subject(const std::vector<const Message*>& messages, const Numbers& number_of) {
  std::unordered_map<std::string, std::size_t> index;
  std::vector<std::vector<const Message*>> threads;
  std::vector<const Message*> sorted = messages;
  std::sort(sorted.begin(), sorted.end(), [](const Message* left, const Message* right) {
    return std::pair(sent_time(*left), left->uid) < std::pair(sent_time(*right), right->uid);
  });
  for (const Message* message : sorted) {
    auto [found, made] = index.try_emplace(base_subject_of(*message), threads.size());
    if (made) threads.emplace_back();
    threads[found->second].push_back(message);
  }
  std::string out;
  for (const auto& thread : threads) {
    fmt::format_to(std::back_inserter(out), "({}", number_of(thread.front()->uid));
    if (thread.size() == 2)
      fmt::format_to(std::back_inserter(out), " {}", number_of(thread[1]->uid));
    else if (thread.size() > 2)
      out += ' ';
    for (std::size_t i = 1; thread.size() > 2 && i < thread.size(); ++i)
      fmt::format_to(std::back_inserter(out), "({})", number_of(thread[i]->uid));
    out += ')';
  }
  return out;
}

}  // namespace postern::testimapd
