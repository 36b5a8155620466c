/** Tests why the quality of a model, or a part of it, is not measured, from the last window of its monitor to `tenure status`. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { unmeasuredLines } from '../../../cli/commands/admin/status.ts'
import {
  insertMonitorWindow,
  listUnmeasured,
  type Unmeasured,
} from '../../../store/monitoring/monitor-windows.ts'
import type { Store } from '../../../store/postgres.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store?.close())

it('the last window says why quality or a part of it is not measured, and `tenure status` shows it', async () => {
  const name = 'tulip'
  await insertModel(store, { model: name, policy: releasePolicy, artifactRoot: '/tmp' })
  const window = (hour: number, quality: object, breakdown?: object) =>
    insertMonitorWindow(store, {
      model: name,
      fromMs: hour * 3_600_000,
      toMs: (hour + 1) * 3_600_000,
      facts: {},
      findings: { quality, breakdown },
      judge: 'service@1',
    })
  expect(await listUnmeasured(store, [name])).toEqual([])
  const few = '240 rows with a matured outcome, at least 1000 required (evaluation.evidence.rows)'
  await window(1, { level: 'insufficient', reasons: [few] })
  const lines = async () => {
    const [{ quality, parts }] = (await listUnmeasured(store, [name, 'absent'])) as [Unmeasured]
    return unmeasuredLines([{ name, quality_unmeasured: quality, parts_unmeasured: parts }, { name: 'iris' }])
  }
  expect(await lines()).toEqual([`\ntulip: quality is not measured: ${few}`])
  await window(2, { level: 'held', reasons: [] }, { problems: ['age: the log has no column "age"'] })
  expect(await lines()).toEqual(['\ntulip: not measured in use: age: the log has no column "age"'])
  await window(3, { level: 'held', reasons: [] }, { problems: [] })
  expect(await lines()).toEqual([])
})
