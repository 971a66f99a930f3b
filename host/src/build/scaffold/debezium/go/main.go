// Package main joins orders with their customers: two tables, as Debezium writes what changes in them.
//
//	shop.public.orders ────> store orders ──┐
//	                                        ├──> orders.by-customer ──> stores customers, orders-of ──> orders.joined
//	shop.public.customers ──────────────────┘
//
// The topic of a table is partitioned by the table's own key. What is joined has to be in one partition, so the changes of both
// tables go through a topic whose key is the customer's.
package main

import (
	"fmt"

	"MODULE/heddle"
	"MODULE/heddle/contracts"
)

// page is the number of orders that are read at a time.
const page = 100

func init() { heddle.Export(join{}) }
func main() {}

// join has the component's handlers.
type join struct{}

// OnShopPublicOrders handles the topic shop.public.orders.
func (join) OnShopPublicOrders(change *contracts.ShopPublicOrdersEnvelope, key *contracts.ShopPublicOrdersKey) error {
	if key == nil {
		return noKey()
	}
	id := fmt.Sprint(key.ID)
	before, had := heddle.StoreOrders.Get(id)
	if had && change != nil && isOld(change.Op, change.Source.Lsn, before.Lsn) {
		return nil
	}
	// A tombstone has no change: the row is deleted.
	after := orderRow(change)
	if after != nil {
		heddle.StoreOrders.Put(id, *after)
	} else {
		heddle.StoreOrders.Delete(id)
	}
	// A row that is deleted, or goes to another customer, leaves the customer it had.
	if had && (after == nil || after.CustomerID != before.CustomerID) {
		passOrderOn(contracts.OrderChange{ID: key.ID, CustomerID: before.CustomerID})
	}
	if after != nil {
		passOrderOn(contracts.OrderChange{ID: key.ID, CustomerID: after.CustomerID, Row: after})
	}
	return nil
}

// OnShopPublicCustomers handles the topic shop.public.customers.
func (join) OnShopPublicCustomers(change *contracts.ShopPublicCustomersEnvelope, key *contracts.ShopPublicCustomersKey) error {
	if key == nil {
		return noKey()
	}
	passed := contracts.OrdersByCustomerValueCustomerChange{ID: key.ID, Op: "d"}
	if change != nil {
		passed.Op, passed.Lsn = change.Op, change.Source.Lsn
		passed.Row = customerRow(change)
	}
	heddle.EmitOrdersByCustomer.SendWith(passed, heddle.Ptr(fmt.Sprint(key.ID)))
	return nil
}

// OnOrdersByCustomer handles the topic orders.by-customer.
func (join) OnOrdersByCustomer(change contracts.OrdersByCustomerValue) error {
	switch change := change.(type) {
	case contracts.OrdersByCustomerValueOrderChange:
		orderChanged(contracts.OrderChange(change))
	case contracts.OrdersByCustomerValueCustomerChange:
		customerChanged(contracts.CustomerChange(change))
	}
	return nil
}

func orderChanged(change contracts.OrderChange) {
	key := fmt.Sprintf("%d/%d", change.CustomerID, change.ID)
	_, had := heddle.StoreOrdersOf.Get(key)
	if change.Row != nil {
		heddle.StoreOrdersOf.Put(key, *change.Row)
	} else {
		heddle.StoreOrdersOf.Delete(key)
	}
	customer, known := heddle.StoreCustomers.Get(fmt.Sprint(change.CustomerID))
	if known && change.Row != nil {
		heddle.EmitOrdersJoined.SendWith(joined(*change.Row, customer), &key)
	} else if known && had {
		heddle.EmitOrdersJoined.Delete(key)
	}
}

func customerChanged(change contracts.CustomerChange) {
	id := fmt.Sprint(change.ID)
	before, had := heddle.StoreCustomers.Get(id)
	if had && isOld(change.Op, change.Lsn, before.Lsn) {
		return
	}
	if change.Row != nil {
		heddle.StoreCustomers.Put(id, *change.Row)
	} else {
		heddle.StoreCustomers.Delete(id)
	}
	for orders := heddle.StoreOrdersOf.Scan(id+"/", nil, page); len(orders) > 0; {
		for _, order := range orders {
			if change.Row != nil {
				heddle.EmitOrdersJoined.SendWith(joined(order.Value, *change.Row), &order.Key)
			} else if had {
				heddle.EmitOrdersJoined.Delete(order.Key)
			}
		}
		orders = heddle.StoreOrdersOf.Scan(id+"/", &orders[len(orders)-1].Key, page)
	}
}

// isOld returns true if the change was seen before: Debezium repeats changes after a restart. Rows of a snapshot ("r") are always
// taken, because a restored server starts from another position.
func isOld(op string, lsn *int64, seen int64) bool {
	return op != "r" && lsn != nil && *lsn <= seen
}

// noKey is the failure of a change without a key: the table was truncated ("t"). One record cannot empty the stores of all
// partitions.
func noKey() error { return heddle.Rejected("a change without a key") }

func passOrderOn(change contracts.OrderChange) {
	key := fmt.Sprint(change.CustomerID)
	heddle.EmitOrdersByCustomer.SendWith(contracts.OrdersByCustomerValueOrderChange(change), &key)
}

// lsn is the position of a change in the server's log.
func lsn(source contracts.Source) int64 {
	if source.Lsn == nil {
		return 0
	}
	return *source.Lsn
}

// orderRow is the row after a change, or nil after a delete.
func orderRow(change *contracts.ShopPublicOrdersEnvelope) *contracts.OrderRow {
	if change == nil || change.After == nil {
		return nil
	}
	row := change.After
	return &contracts.OrderRow{
		ID:         row.ID,
		CustomerID: row.CustomerID,
		Amount:     row.Amount,
		Currency:   row.Currency,
		Status:     row.Status,
		PlacedAt:   row.PlacedAt,
		Lsn:        lsn(change.Source),
	}
}

func customerRow(change *contracts.ShopPublicCustomersEnvelope) *contracts.CustomerRow {
	if change.After == nil {
		return nil
	}
	return &contracts.CustomerRow{Name: change.After.Name, Email: change.After.Email, Lsn: lsn(change.Source)}
}

func joined(order contracts.OrderRow, customer contracts.CustomerRow) contracts.OrderWithCustomer {
	return contracts.OrderWithCustomer{
		OrderID:    order.ID,
		CustomerID: order.CustomerID,
		Customer:   customer.Name,
		Email:      customer.Email,
		Amount:     order.Amount,
		Currency:   order.Currency,
		Status:     order.Status,
		PlacedAt:   order.PlacedAt,
	}
}
