// A list in the order of use and a table by key; put() makes room from the end of the list until the budget holds.
#include "postern/mail/fragment_cache.hpp"

#include <cstring>

#include "postern/base/crypto.hpp"

namespace postern::mail {

FragmentCache::PlanKey FragmentCache::plan_key(std::string_view signature) {
  const auto digest = sha256(signature);
  PlanKey key{};
  static_assert(sizeof(key) <= sizeof(digest));
  std::memcpy(key.data(), digest.data(), sizeof(key));
  return key;
}

std::shared_ptr<const Fragment> FragmentCache::find(const Key& key) {
  auto account = by_account_.find(key.account);
  if (account != by_account_.end()) {
    if (auto it = account->second.find(key); it != account->second.end()) {
      ++hits_;
      entries_.splice(entries_.begin(), entries_, it->second);
      return it->second->fragment;
    }
  }
  ++misses_;
  return nullptr;
}

void FragmentCache::put(const Key& key, std::shared_ptr<const Fragment> fragment) {
  if (auto account = by_account_.find(key.account); account != by_account_.end())
    if (auto it = account->second.find(key); it != account->second.end()) erase(it->second);
  const auto bytes = cost(*fragment);
  if (bytes > budget_bytes_) return;
  while (bytes_ + bytes > budget_bytes_) erase(std::prev(entries_.end()));
  entries_.push_front(Entry{key, std::move(fragment)});
  by_account_[key.account][key] = entries_.begin();
  bytes_ += bytes;
}

void FragmentCache::drop_account(store::AccountKey account) {
  auto found = by_account_.find(account);
  if (found == by_account_.end()) return;
  for (const auto& [key, it] : found->second) {
    bytes_ -= cost(*it->fragment);
    entries_.erase(it);
  }
  by_account_.erase(found);
}

void FragmentCache::clear() {
  entries_.clear();
  by_account_.clear();
  bytes_ = 0;
}

void FragmentCache::erase(std::list<Entry>::iterator it) {
  bytes_ -= cost(*it->fragment);
  auto account = by_account_.find(it->key.account);
  account->second.erase(it->key);
  if (account->second.empty()) by_account_.erase(account);
  entries_.erase(it);
}

}  // namespace postern::mail
