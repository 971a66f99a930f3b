//! What a newer version of a component may change while it runs, and what not. Pure.

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::KeyType;

/// Why `new` cannot take the place of `old`, in three lines; `None` if it can. What a schema changed is asked of the registry.
pub(super) fn refusal(app: &str, old: &Manifest, new: &Manifest, kafka: bool) -> Option<String> {
    let name = &new.name;
    for (store, now) in &new.stores {
        let Some(before) = old.stores.get(store) else { continue };
        let (was, is) = (key_type(before.key.as_ref()), key_type(now.key.as_ref()));
        if was != is {
            return Some(format!(
                "the keys of the store `{store}` were `{was}` and would be `{is}`: what it holds could not be found any more\n  where: [stores.{store}] of the component `{name}`\n  what to do: keep the type of the keys, or give a store with another name the new type and fill it from the old one"
            ));
        }
        let (was, is) = (old.changelog(app, store), new.changelog(app, store));
        if was != is {
            return Some(format!(
                "the changelog of the store `{store}` was `{was}` and would be `{is}`: the store would begin empty\n  where: [stores.{store}] of the component `{name}`\n  what to do: add changelog = \"{was}\", or give the store another name"
            ));
        }
    }
    let (was, is) = (old.consumes.len(), new.consumes.len());
    if kafka && (was == 1) != (is == 1) {
        return Some(format!(
            "the component consumed {was} topics and would consume {is}: on Kafka its group shares out one topic in another way than several, and not both at a time\n  where: [consumes] of the component `{name}`\n  what to do: stop all hosts, put the new file in place of the old one on each (`heddle rollback {name} --to file` before, if it was deployed), and start them"
        ));
    }
    None
}

/// What `new` leaves behind, for a person to know.
pub(super) fn warnings(app: &str, old: &Manifest, new: &Manifest) -> Vec<String> {
    let gone = old.stores.keys().filter(|store| !new.stores.contains_key(*store));
    let told = gone.map(|store| {
        format!(
            "the store `{store}` is gone; what it held stays in `{}`, and is there again if the store comes back",
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
    use super::*;

    const OLD: &str = "[component]\nname = \"ledger\"\nlanguage = \"rust\"\n[consumes.orders]\n[stores.accounts]\nvalue = \"Account\"\n[stores.totals]\nvalue = \"Total\"\n";

    fn manifest(text: &str) -> Manifest {
        Manifest::parse(text, "component.toml").unwrap()
    }

    fn changed(from: &str, to: &str, kafka: bool) -> String {
        let new = OLD.replace(from, to);
        assert_ne!(new, OLD);
        refusal("shop", &manifest(OLD), &manifest(&new), kafka).unwrap_or_default()
    }

    #[test]
    fn what_state_would_be_lost_by_is_refused() {
        let told = [
            changed("\"Account\"", "\"Account\"\nkey = \"bytes\"", false),
            changed("\"Account\"", "\"Account\"\nchangelog = \"accounts\"", false),
            changed("[consumes.orders]", "[consumes.orders]\n[consumes.returns]", true),
        ];
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(changed("[consumes.orders]", "[consumes.orders]\n[consumes.returns]", false), "");
        assert_eq!(
            changed("\"Account\"", "\"Account\"\nkey = \"string\"\nchangelog = \"shop.ledger.accounts\"", true),
            ""
        );
    }

    #[test]
    fn a_store_that_goes_is_told() {
        let new = OLD.replace("[stores.totals]\nvalue = \"Total\"\n", "");
        assert_eq!(
            warnings("shop", &manifest(OLD), &manifest(&new)),
            [
                "the store `totals` is gone; what it held stays in `shop.ledger.totals`, and is there again if the store comes back"
            ]
        );
        assert_eq!(refusal("shop", &manifest(OLD), &manifest(&new), true), None);
    }
}
