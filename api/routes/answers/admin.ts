/** Describes the responses of keys, alerts, the audit log, switches, erasures, batches, outcomes and health. */
import { resourceKinds } from '../../../domain/installation/resource.ts'
import { deferredAnswer } from './lifecycle.ts'
import {
  countField,
  dataField,
  schemaOfFields,
  flagField,
  arrayOf,
  mapOf,
  oneOfTexts,
  pagedListOf,
  textField,
  timeField,
} from './fields.ts'

const alert = schemaOfFields(
  {
    id: countField,
    dedupe_key: textField,
    severity: oneOfTexts('info', 'warning', 'critical'),
    kind: textField,
    message: textField,
    raised_at: timeField,
  },
  {
    model: textField,
    evidence: dataField,
    acknowledged_at: timeField,
    acknowledged_by: textField,
    resolved_at: timeField,
    worst: textField,
    worst_since: timeField,
    cause: textField,
    resolution: textField,
  },
)
export const alertAnswer = alert
export const alertsAnswer = schemaOfFields({ alerts: arrayOf(alert) })

export const auditAnswer = schemaOfFields({
  audit: arrayOf(
    schemaOfFields(
      {
        seq: countField,
        at: timeField,
        actor: textField,
        action: textField,
        subject: textField,
        detail: dataField,
        previous_hash: textField,
        hash: textField,
      },
      { model: textField, signature: textField },
    ),
  ),
})
export const verificationAnswer = schemaOfFields(
  { rows: countField, verified_at: timeField },
  { head: schemaOfFields({ seq: countField, hash: textField }), breach: textField },
)

const killSwitch = schemaOfFields(
  {
    model: textField,
    serve: textField,
    reason: textField,
    actor: textField,
    revision: countField,
    at: timeField,
    means: textField,
    problems: arrayOf(textField),
  },
  {},
)
export const killSwitchAnswer = killSwitch
export const killSwitchesAnswer = schemaOfFields({ kill_switches: arrayOf(killSwitch) })

const erasure = schemaOfFields(
  {
    id: textField,
    model: textField,
    subject_hash: textField,
    requested_by: textField,
    requested_at: timeField,
    stage: textField,
    status: oneOfTexts('running', 'done', 'nothing_found'),
    counts: mapOf(countField),
    outstanding: arrayOf(textField),
    notes: arrayOf(textField),
    snapshots: arrayOf(
      schemaOfFields(
        { digest: textField, holds: textField, drop_after: timeField },
        { dropped_at: timeField },
      ),
    ),
  },
  { key_digest: textField, reached_at: timeField, ended_at: timeField },
)
export const erasureAnswer = erasure
export const erasuresAnswer = pagedListOf('erasures', erasure)
export const erasureStartedAnswer = schemaOfFields({ id: textField, model: textField, is_new: flagField })

const batch = schemaOfFields(
  {
    id: textField,
    model: textField,
    version: textField,
    input: dataField,
    output: dataField,
    requested_by: textField,
    status: oneOfTexts('running', 'done', 'failed'),
    started_at: timeField,
    scored: countField,
    refused: countField,
    withdrawn: flagField,
  },
  {
    input_digest: textField,
    rows: countField,
    not_found: arrayOf(schemaOfFields({ feature: textField, rows: countField })),
    for_review: countField,
    message: textField,
    ended_at: timeField,
  },
)
export const batchAnswer = batch
export const batchesAnswer = schemaOfFields({ batches: arrayOf(batch) })
export const batchStartedAnswer = {
  anyOf: [schemaOfFields({ id: textField, model: textField }, { workflow_id: textField }), deferredAnswer],
}

const key = { id: textField, name: textField, role: textField, created_at: timeField }
const endOfKey = {
  models: arrayOf(textField),
  expires_at: timeField,
  revoked_at: timeField,
  previous_until: timeField,
  last_used_at: timeField,
  rate: dataField,
}
export const keyAnswer = schemaOfFields(key, endOfKey)
export const keysAnswer = schemaOfFields({ keys: arrayOf(keyAnswer) })
export const newKeyAnswer = schemaOfFields({ ...key, key: textField }, endOfKey)

const resource = { kind: oneOfTexts(...resourceKinds), name: textField }
const valued = { ...resource, value: dataField }
export const stateAnswer = schemaOfFields({
  actor: textField,
  kinds: arrayOf(oneOfTexts(...resourceKinds)),
  resources: arrayOf(schemaOfFields(valued)),
  applied: arrayOf(schemaOfFields({ ...valued, at: timeField, actor: textField })),
})
export const stateAppliedAnswer = schemaOfFields({
  changes: arrayOf(
    schemaOfFields(
      { ...resource, action: oneOfTexts('added', 'changed', 'deleted') },
      { key: textField, problems: arrayOf(textField) },
    ),
  ),
})

const counts = { received: countField, accepted: countField, stored: countField, unknown: countField }
export const outcomesAnswer = schemaOfFields(counts)
export const bulkOutcomesAnswer = schemaOfFields(
  { ...counts, refused: countField, issues: arrayOf(textField) },
  { next_since: timeField },
)

export const aliveAnswer = schemaOfFields({ status: textField })
export const readyAnswer = schemaOfFields(
  { status: textField },
  {
    database: dataField,
    temporal: dataField,
    stale: flagField,
    pinned: arrayOf(schemaOfFields({ model: textField, serve: textField })),
    unavailable: arrayOf(dataField),
    models: arrayOf(dataField),
  },
)
export const liveAnswer = schemaOfFields({ live: flagField })
export const readinessAnswer = schemaOfFields({ ready: flagField }, { name: textField })
