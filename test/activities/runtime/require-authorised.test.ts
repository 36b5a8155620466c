/** Tests that the start of a workflow is accepted once, in time, from a permitted key, and for the request that its user signed. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requireAuthorised, type SignedStart } from '../../../activities/runtime/require-authorised.ts'
import type { StartBasis, StartType } from '../../../domain/roles.ts'
import { insertKey, revokeKey } from '../../../store/access/api-keys.ts'
import { readStartBasis } from '../../../store/access/idempotency.ts'
import type { Store } from '../../../store/postgres.ts'
import { openSigner, type Signer } from '../../../store/signing/signing-key.ts'
import { signStart } from '../../../store/signing/start-signatures.ts'
import { readConfig, type Config } from '../../../temporal.config.ts'
import { insertModel, type Registry } from '../../support/release/candidates.ts'
import { releasePolicy } from '../../support/release/releases.ts'
import { seatChampion } from '../../support/serving/seed-champion.ts'
import { migratedDatabase, openPatientStore, uniqueName } from '../../support/servers/servers.ts'

const model = uniqueName('roses')
let stateDir: string
let config: Config
let store: Store
let signer: Signer
let registry: Registry
let champion: string
let version: string
/** Key name → id. */
const keys: Record<string, string> = {}
beforeAll(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'tenure-starts-'))
  config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TENURE_STATE: stateDir,
    TENURE_BUILD_ID: 'test',
  })
  store = openPatientStore(config.databaseUrl)
  signer = await openSigner(config.signing, 'commands')
  registry = await insertModel(store, { model, policy: releasePolicy, artifactRoot: config.artifactRoot })
  champion = await registry.register()
  await seatChampion(store, model, champion)
  version = await registry.register(champion)
  const people = { olga: 'operator', anna: 'approver', vera: 'viewer', gone: 'operator' } as const
  for (const [name, role] of Object.entries(people))
    keys[name] = (await insertKey(store, { name, role })).facts.id
  const elsewhere = { name: 'elsa', role: 'operator', models: ['another'] } as const
  keys['elsa'] = (await insertKey(store, elsewhere)).facts.id
  await revokeKey(store, keys['gone']!)
})
afterAll(async () => {
  await store?.close()
  rmSync(stateDir, { recursive: true, force: true })
})

interface Signed {
  by?: string
  type?: StartType
  basis?: StartBasis
  validForMs?: number
}
const validMs = 15 * 60_000

/** Signs a start of a release as the API does. */
async function start(
  more: Partial<SignedStart> = {},
  { by = 'olga', type = 'release', basis, validForMs = validMs }: Signed = {},
) {
  const request = { model, version, requestedBy: by, ...more }
  const meant = basis ?? (await readStartBasis(store, request))
  const signedBy = { keyId: keys[by]!, nowMs: Date.now() - validMs + validForMs }
  return { ...request, authorisation: signStart(signer, { type, request, basis: meant }, signedBy) }
}

/** Runs the check in a workflow run; resolves when the start is accepted. */
function open(order: SignedStart, { runId = randomUUID() as string, type = 'release' as StartType } = {}) {
  const environment = new MockActivityEnvironment({ workflowExecution: { workflowId: 'any', runId } })
  return environment.run(() => requireAuthorised({ config }, store, { type, order }))
}
const usedStarts = async () =>
  (await store.query(sql`select from used_starts where key_id = any(${Object.values(keys)})`)).length

describe('the start of a workflow', () => {
  it('is accepted in its run, as often as the run asks', async () => {
    const order = await start()
    const runId = randomUUID()
    await open(order, { runId })
    await open(order, { runId })
  })

  it('is refused without a signature', async () => {
    const { authorisation: _none, ...order } = await start()
    await expect(open(order)).rejects.toThrow(/is not signed/)
    await expect(open({ ...order, authorisation: null })).rejects.toThrow(/is not signed/)
  })

  it('opens one run: a second one with the same authorisation is refused', async () => {
    const order = await start()
    await open(order)
    await expect(open(order)).rejects.toThrow(/has opened another run/)
  })

  it('opens one of twenty runs that ask at once', async () => {
    const order = await start()
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => open(order)))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('is refused 15 minutes after it was signed, but not to the run that it has opened in time', async () => {
    await expect(open(await start({}, { validForMs: -1 }))).rejects.toThrow(/more than 15 minutes ago/)
    const order = await start({}, { validForMs: 400 })
    const runId = randomUUID()
    await open(order, { runId })
    await expect.poll(() => Date.now() > Number(order.authorisation.signature.split('.')[1])).toBe(true)
    await open(order, { runId })
    await expect(open(order)).rejects.toThrow(/has opened another run/)
  })

  it('is refused when anything of the request differs from what was signed', async () => {
    const order = await start({}, { by: 'olga' })
    const { authorisation } = order
    const others: SignedStart[] = [
      { ...order, version: champion },
      { ...order, requestedBy: 'anna' },
      { ...order, policy: {} } as SignedStart,
      { ...order, authorisation: { ...authorisation, id: randomUUID() } },
      { ...order, authorisation: { ...authorisation, basis: {} } },
      { ...order, authorisation: { ...authorisation, signature: `${keys['anna']!}.9999999999999.AAAA` } },
      { ...order, authorisation: { id: { toString: 1 }, signature: [] } as unknown as typeof authorisation },
      { ...order, authorisation: {} as NonNullable<SignedStart['authorisation']> },
    ]
    for (const other of others) await expect(open(other)).rejects.toThrow(/was signed for another request/)
    await expect(open(order, { type: 'retrain' })).rejects.toThrow(/was signed for another request/)
    await open(order)
  })

  it('is refused when the champion or the artifact is not the one that its user signed', async () => {
    const now = await readStartBasis(store, { model, version })
    expect(now).toEqual({ champion, artifact: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string })
    for (const basis of [
      { ...now, champion: version },
      { ...now, champion: null },
      { ...now, artifact: 'f00' },
      {},
    ])
      await expect(open(await start({}, { basis }))).rejects.toThrow(
        /meant \{.*and it is \{.*now; start it again/,
      )
  })

  it('is refused to a key that has ended, or lacks the role, the model or the name', async () => {
    const before = await usedStarts()
    await expect(open(await start({}, { by: 'gone' }))).rejects.toThrow(/is not allowed to the key/)
    await expect(open(await start({}, { by: 'vera' }))).rejects.toThrow(/is not allowed to the key/)
    await expect(open(await start({}, { by: 'elsa' }))).rejects.toThrow(/is not allowed to the key/)
    await expect(open(await start({ requestedBy: 'anna' }, { by: 'olga' }))).rejects.toThrow(/is not allowed/)
    const retraining = await start({}, { by: 'anna', type: 'retrain' })
    await expect(open(retraining, { type: 'retrain' })).rejects.toThrow(/is not allowed to the key/)
    expect(await usedStarts()).toBe(before)
  })
})
