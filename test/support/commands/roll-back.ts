/** Rolls a model back with the API's service code, without an API process. */
import { randomUUID } from 'node:crypto'
import { qualifyVersion } from '../../../activities/release/qualify.ts'
import { awaitRollbackOnReplicas } from '../../../api/services/rollback/rollback-model.ts'
import { writeRollback } from '../../../api/services/rollback/write-rollback.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import { findReleasable } from '../../../store/release/releases.ts'
import { findRollbackSubject, type ServingRollback } from '../../../store/release/rollback.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import type { Store } from '../../../store/postgres.ts'
import type { Deps } from '../../../activities/deps.ts'

/** Throws the error that the API would return. `from`: the version that the order names. */
export async function rollBackModel(
  { deps, store }: { deps: Deps; store: Store },
  model: string,
  { by = 'olga', from }: { by?: string; from?: string } = {},
): Promise<ServingRollback> {
  const key = (await findActiveKeys(store)).find(({ name }) => name === by)!
  const issueOf = async (version: string) => {
    const { artifactDigest: digest } = (await findReleasable(store, version))!
    const found = await qualifyVersion(deps, { version, digest })
    return found.ok ? undefined : found.message
  }
  const parts = {
    store,
    signer: await openSigner(deps.config.signing, 'replicas'),
    serving: { routing: { issueOf }, wall: Date.now },
  }
  const version = from ?? (await findRollbackSubject(store, model))
  const order = { id: randomUUID(), model, version, reason: 'callers complain' }
  const done = await writeRollback(parts as unknown as Parameters<typeof writeRollback>[0], key, order)
  if (done.place !== undefined)
    await awaitRollbackOnReplicas(
      { store, leaseMs: 5_000, known: [] },
      { ...done.place, model },
      done.unfencedBefore,
    )
  return done
}
