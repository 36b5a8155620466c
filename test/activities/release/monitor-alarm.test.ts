/** Tests which alarms of the monitor end a probation. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { findAlarm } from '../../../activities/release/watch-stage.ts'
import type { ArmLosses } from '../../../domain/canary/holdback.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import type { Store } from '../../../store/postgres.ts'
import { releaseFacts } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

let store: Store
let state: ReleaseState
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store?.close())
beforeEach(() => {
  const model = uniqueName('model')
  const opened = openingState({ ...releaseFacts, id: `rel_${model}`, model }, 0)
  state = { ...opened, stage: 'probation', promoted: true }
})
const raise = (kind: 'quality_lost' | 'quality_floor' | 'serving_skew' | 'parent_differs', key: string) =>
  upsertAlert(store, {
    dedupeKey: `${key}/${state.model}`,
    severity: 'critical',
    kind,
    message: kind,
    evidence: { version: state.version },
  })
const found = async (holdback?: ArmLosses) =>
  (await findAlarm({ store }, state, { holdback }))?.values['kind']
/** The previous champion is as bad. */
const asBad = {
  candidate: { total: 500, loss: 100 },
  control: { total: 500, loss: 100 },
} as unknown as ArmLosses

it('an alarm counts while a person decides about the probation, and not before a promotion', async () => {
  await raise('quality_lost', 'quality')
  expect(await found()).toBe('quality_lost')
  state = { ...state, stage: 'awaiting_decision', undecidedStage: 'probation' }
  expect(await found()).toBe('quality_lost')
  state = { ...state, undecidedStage: 'canary', promoted: false }
  expect(await found()).toBeUndefined()
})

it('answers that moved away from the parent count', async () => {
  await raise('parent_differs', 'parent')
  expect(await found(asBad)).toBe('parent_differs')
})

it('lost quality that the holdback excuses hides no other alarm', async () => {
  await raise('quality_lost', 'quality')
  await raise('quality_floor', 'quality_floor')
  expect(await found()).toBe('quality_lost')
  expect(await found(asBad)).toBeUndefined()
  await raise('serving_skew', 'skew')
  expect(await found(asBad)).toBe('serving_skew')
})

it('lost quality does not count while outcomes are missing by the answer, and other alarms do', async () => {
  await raise('quality_lost', 'quality')
  const arm = (outcomes: number) => ({ answers: 5_000, outcomes })
  const found = async (outcomes: number) => {
    const coverage = { holdback: { canary: arm(4_500), control: arm(outcomes) } }
    const holdback = { ...asBad, control: { total: 500, loss: 50 } }
    return (await findAlarm({ store }, state, { holdback, coverage }))?.values['kind']
  }
  expect(await found(4_500)).toBe('quality_lost')
  expect(await found(4_150)).toBeUndefined()
  await raise('serving_skew', 'skew')
  expect(await found(4_150)).toBe('serving_skew')
})

it('lost quality waits until the outcomes of the holdback have been read, and no other alarm does', async () => {
  await raise('quality_lost', 'quality')
  const unread = async () => (await findAlarm({ store }, state, { isUnread: true }))?.values['kind']
  expect(await unread()).toBeUndefined()
  await raise('serving_skew', 'skew')
  expect(await unread()).toBe('serving_skew')
})
