//! Checks the changes between two versions of a component that a running component may make. Pure.

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::KeyType;
use heddle_core::explain::Explained;

/// Returns the reason why `new` cannot replace `old`, or `None` if it can. Schema changes are checked against the
/// registry, not here. `shared` has the number of the group's topics before and after, with retry topics, if the
/// group's members assign its partitions.
pub(super) fn refusal(app: &str, old: &Manifest, new: &Manifest, shared: Option<(usize, usize)>) -> Option<Explained> {
    let name = &new.name;
    for (store, now) in &new.stores {
        let Some(before) = old.stores.get(store) else { continue };
        let (was, is) = (key_type(before.key.as_ref()), key_type(now.key.as_ref()));
        if was != is {
            let what = format!(
                "the keys of the store `{store}` were `{was}` and would be `{is}`: its entries could not be found any more"
            );
            return Some(Explained::new(what).at(format_args!("[stores.{store}] of the component `{name}`")).hint(
                "keep the type of the keys, or give a store with another name the new type and fill it from the old one",
            ));
        }
        let (was, is) = (old.changelog(app, store), new.changelog(app, store));
        if was != is {
            let what = format!(
                "the changelog of the store `{store}` was `{was}` and would be `{is}`: the store would begin empty"
            );
            return Some(
                Explained::new(what)
                    .at(format_args!("[stores.{store}] of the component `{name}`"))
                    .hint(format_args!("add changelog = \"{was}\", or give the store another name")),
            );
        }
    }
    let (was, is) = (old.group(app), new.group(app));
    if was != is {
        let what = format!(
            "the consumer group was `{was}` and would be `{is}`: both would consume the same records until all hosts have switched"
        );
        return Some(
            Explained::new(what)
                .at(format_args!("[component] group of the component `{name}`"))
                .hint("keep the group, or stop all hosts and replace the file on each"),
        );
    }
    if let Some((was, is)) = shared
        && (was == 1) != (is == 1)
    {
        let what = format!(
            "the number of topics that the component reads, with retry topics, was {was} and would be {is}: a Kafka group assigns one topic in another way than several, and cannot do both at a time"
        );
        let hint = format!(
            "stop all hosts, replace the file on each (after `heddle rollback {name} --to file`, if it was deployed), and start them"
        );
        let place = format!("[consumes] and [failure] retry of the component `{name}`");
        return Some(Explained::new(what).at(place).hint(hint));
    }
    None
}

/// Returns warnings about what `new` leaves behind.
pub(super) fn warnings(app: &str, old: &Manifest, new: &Manifest) -> Vec<String> {
    let gone = old.stores.keys().filter(|store| !new.stores.contains_key(*store));
    let told = gone.map(|store| {
        format!(
            "the store `{store}` was removed; its entries stay in `{}`, and are used again if the store is added again",
            old.changelog(app, store)
        )
    });
    told.collect()
}

fn key_type(key: Option<&KeyType>) -> &str {
    match key {
        None | Some(KeyType::String) => "string",
        Some(KeyType::Bytes) => "bytes",
        Some(KeyType::Schema(name)) => name,
    }
}

#[cfg(test)]
mod tests {
    use heddle_core::explain::to_text;

    use super::*;

    const OLD: &str = "[component]\nname = \"ledger\"\nlanguage = \"rust\"\n[consumes.orders]\n[stores.accounts]\nvalue = \"Account\"\n[stores.totals]\nvalue = \"Total\"\n";

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(text, "component.toml").unwrap()
    }

    fn changed(from: &str, to: &str, shared: Option<(usize, usize)>) -> String {
        let new = OLD.replace(from, to);
        assert_ne!(new, OLD);
        refusal("shop", &manifest(OLD), &manifest(&new), shared).map(|found| to_text(&found)).unwrap_or_default()
    }

    #[test]
    fn a_change_that_would_lose_state_is_refused() {
        let told = [
            changed("\"Account\"", "\"Account\"\nkey = \"bytes\"", None),
            changed("\"Account\"", "\"Account\"\nchangelog = \"accounts\"", None),
            changed("[consumes.orders]", "[consumes.orders]\n[consumes.returns]", Some((1, 2))),
        ];
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(changed("[consumes.orders]", "[consumes.orders]\n[consumes.returns]", None), "");
        assert_eq!(
            changed("\"Account\"", "\"Account\"\nkey = \"string\"\nchangelog = \"shop.ledger.accounts\"", Some((1, 1))),
            ""
        );
    }

    #[test]
    fn another_group_is_refused() {
        let refused = changed("name = \"ledger\"", "name = \"ledger\"\ngroup = \"listener\"", None);
        assert!(refused.starts_with("the consumer group was `shop.ledger` and would be `listener`"), "{refused}");
        assert_eq!(changed("name = \"ledger\"", "name = \"ledger\"\ngroup = \"shop.ledger\"", None), "");
    }

    #[test]
    fn a_removed_store_is_reported() {
        let new = OLD.replace("[stores.totals]\nvalue = \"Total\"\n", "");
        assert_eq!(
            warnings("shop", &manifest(OLD), &manifest(&new)),
            [
                "the store `totals` was removed; its entries stay in `shop.ledger.totals`, and are used again if the store is added again"
            ]
        );
        assert_eq!(refusal("shop", &manifest(OLD), &manifest(&new), Some((2, 3))), None);
    }
}
