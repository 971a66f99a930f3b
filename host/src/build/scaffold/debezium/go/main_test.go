package main

import (
	"fmt"
	"slices"
	"testing"

	"MODULE/heddle"
	"MODULE/heddle/contracts"
)

// source is where a change comes from, at a position of the server's log.
func source(table string, lsn int64) contracts.Source {
	return contracts.Source{Connector: "postgresql", Name: "shop", Db: "shop", Schema: "public", Table: table, Lsn: &lsn}
}

// passedOn delivers what the handlers passed on since it was called last; it returns the keys that this led to, with the customers'
// names or "-" for tombstones.
func passedOn(t *testing.T, err error, passed, joined *int) []string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, sent := range heddle.EmitOrdersByCustomer.Sent()[*passed:] {
		*passed++
		if err := (join{}).OnOrdersByCustomer(sent.Value); err != nil {
			t.Fatal(err)
		}
	}
	rows := []string{}
	for _, sent := range heddle.EmitOrdersJoined.Sent()[*joined:] {
		*joined++
		name := sent.Value.Customer
		if sent.Deleted {
			name = "-"
		}
		rows = append(rows, fmt.Sprint(*sent.Key, " ", name))
	}
	return rows
}

// table delivers changes of both tables.
type table struct {
	t              *testing.T
	passed, joined int
}

// order is the order 1 of a customer; of none, 0, if it was deleted.
func (on *table) order(customer int32, lsn int64, rows ...string) {
	on.t.Helper()
	change := contracts.ShopPublicOrdersEnvelope{Source: source("orders", lsn), Op: "d"}
	if customer != 0 {
		change.Op = "u"
		change.After = &contracts.ShopPublicOrdersValue{ID: 1, CustomerID: customer, Amount: "9.50", Currency: "EUR", Status: "open"}
	}
	on.leadsTo(join{}.OnShopPublicOrders(&change, &contracts.ShopPublicOrdersKey{ID: 1}), rows)
}

func (on *table) tombstone(rows ...string) {
	on.t.Helper()
	on.leadsTo(join{}.OnShopPublicOrders(nil, &contracts.ShopPublicOrdersKey{ID: 1}), rows)
}

func (on *table) customer(id int32, name string, rows ...string) {
	on.t.Helper()
	row := contracts.ShopPublicCustomersValue{ID: id, Name: name}
	change := contracts.ShopPublicCustomersEnvelope{After: &row, Source: source("customers", 0), Op: "r"}
	on.leadsTo(join{}.OnShopPublicCustomers(&change, &contracts.ShopPublicCustomersKey{ID: id}), rows)
}

func (on *table) leadsTo(err error, rows []string) {
	on.t.Helper()
	if found := passedOn(on.t, err, &on.passed, &on.joined); !slices.Equal(found, rows) {
		on.t.Errorf("found %v, expected %v", found, rows)
	}
}

func TestARowIsJoinedWhenBothSidesAreThere(t *testing.T) {
	heddle.NewTestHost(t)
	on := table{t: t}
	on.order(7, 10)
	on.customer(7, "Ada", "7/1 Ada")
	on.customer(7, "Ada L.", "7/1 Ada L.")
	on.order(0, 11, "7/1 -")
	// What follows every delete; compaction may leave only this.
	on.tombstone()
}

func TestAnOrderThatGoesToAnotherCustomerLeavesTheOneItHad(t *testing.T) {
	heddle.NewTestHost(t)
	on := table{t: t}
	on.customer(7, "Ada")
	on.customer(8, "Bob")
	on.order(7, 10, "7/1 Ada")
	on.order(8, 20, "7/1 -", "8/1 Bob")
	// Debezium sends some changes again after a restart.
	on.order(7, 10)
	on.tombstone("8/1 -")
}
