-- Every upload that the ledger calls stored is an object.
SELECT format('upload %s: stored, but there is no object', l.id)
FROM ledger l WHERE l.state = 'stored' AND NOT EXISTS (SELECT 1 FROM objects o WHERE o.id = l.id)
