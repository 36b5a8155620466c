/** Tests that the demo does not wait for a release that has ended. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { awaitApproval } from '../../../cli/demo/releasing.ts'
import type { DemoWorld } from '../../../cli/demo/world.ts'
import { openingState } from '../../../domain/release/state.ts'
import { end } from '../../../domain/release/reducer.ts'
import type { Store } from '../../../store/postgres.ts'
import { recordEnd, insertRelease } from '../../../store/release/releases.ts'
import { insertModel } from '../../support/release/candidates.ts'
import { firstFacts, releasePolicy } from '../../support/release/releases.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const artifactRoot = mkdtempSync(join(tmpdir(), 'tenure-releasing-'))
let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(async () => {
  await store?.close()
  rmSync(artifactRoot, { recursive: true })
})

it('a release that ends before its approval ends the wait with its reason', async () => {
  const model = uniqueName('model')
  const registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot })
  const version = await registry.register()
  const state = openingState({ ...firstFacts, id: `rel_${uniqueName('r')}`, model, version }, 0)
  await insertRelease(store, { state, workflowId: 'release/m', runId: 'run' })
  await recordEnd(store, end(state, 1, 'failed', 'its process took too long'))
  const narrator = { during: (_line: () => string, work: Promise<unknown>) => work }
  await expect(awaitApproval({ store, narrator } as unknown as DemoWorld, version)).rejects.toThrow(
    `${version} ended before its approval as failed: its process took too long`,
  )
})
