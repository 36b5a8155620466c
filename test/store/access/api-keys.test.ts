/** Tests that API keys are hashed, shown once and revoked permanently. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ensureAdminKey,
  findActiveKeys,
  idOfKey,
  insertKey,
  listKeys,
  revokeKey,
  rotateKey,
} from '../../../store/access/api-keys.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { DomainError } from '../../../domain/errors.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 12 })
})
afterAll(() => store.close())

describe('the first admin key', () => {
  it('is answered by the next attempt when the commit was not confirmed', async () => {
    const fresh = openPatientStore(await migratedDatabase(), { max: 2 })
    const lost: Store = {
      ...fresh,
      transaction: async (work) => {
        await fresh.transaction(work)
        throw new DomainError('postgres_unavailable', 'Postgres did not answer')
      },
    }
    const made = new Map<string, string>()
    await expect(ensureAdminKey(lost, made)).rejects.toMatchObject({ code: 'postgres_unavailable' })
    const key = await ensureAdminKey(fresh, made)
    const [admin] = await findActiveKeys(fresh)
    expect(idOfKey(key!)).toBe(admin!.id)
    expect(await ensureAdminKey(fresh)).toBeUndefined()
    await fresh.close()
  })

  it('is created once, also when twelve processes start together', async () => {
    const made = await Promise.all(Array.from({ length: 12 }, () => ensureAdminKey(store)))
    const [key] = made.filter((each) => each !== undefined)
    expect(made.filter((each) => each !== undefined)).toHaveLength(1)
    expect(await listAudit(store)).toMatchObject([
      {
        actor: 'system',
        action: 'key.created',
        subject: idOfKey(key!),
        detail: { name: 'admin', role: 'admin' },
      },
    ])
  })

  it('is not created again after its revocation', async () => {
    const [admin] = await findActiveKeys(store)
    await revokeKey(store, admin!.id)
    expect(await ensureAdminKey(store)).toBeUndefined()
    expect(await findActiveKeys(store)).toEqual([])
  })
})

describe('a key', () => {
  it('is stored as its hash alone', async () => {
    const { key, facts } = await insertKey(store, { name: 'shop', role: 'predictor', models: ['iris'] })
    expect(key).toMatch(/^tnr_[0-9a-f]{12}_[0-9a-f]{48}$/)
    expect(idOfKey(key)).toBe(facts.id)
    const [held] = await findActiveKeys(store)
    expect(held).toMatchObject({ name: 'shop', role: 'predictor', models: ['iris'] })
    expect(held?.hash).toBe(createHash('sha256').update(key).digest('hex'))
    const { rows } = await store.pool.query('select api_keys::text as row from api_keys')
    expect(JSON.stringify(rows)).not.toContain(key.split('_')[2])
  })

  it('has a unique name while it is active, and releases the name when it is revoked', async () => {
    const { facts } = await insertKey(store, { name: 'ada', role: 'approver' })
    await expect(insertKey(store, { name: 'ada', role: 'viewer' })).rejects.toMatchObject({
      code: 'invalid_request',
    })
    const revoked = await revokeKey(store, facts.id)
    expect((await revokeKey(store, facts.id)).revokedAt).toBe(revoked.revokedAt)
    await insertKey(store, { name: 'ada', role: 'viewer' })
    expect((await listKeys(store)).filter(({ name }) => name === 'ada')).toHaveLength(2)
  })

  it('is refused after it expires', async () => {
    await insertKey(store, { name: 'old', role: 'viewer', expiresAt: '2020-01-01T00:00:00Z' })
    expect((await findActiveKeys(store)).map(({ name }) => name)).not.toContain('old')
  })

  it('keeps its name after it expires until it is revoked, and says so', async () => {
    const { facts } = await insertKey(store, {
      name: 'over',
      role: 'viewer',
      expiresAt: '2020-01-01T00:00:00Z',
    })
    await expect(insertKey(store, { name: 'over', role: 'viewer' })).rejects.toMatchObject({
      message: 'a key that is not revoked is named "over" already',
      context: { remedy: expect.stringContaining('`tenure keys revoke over`') as string },
    })
    await expect(rotateKey(store, { id: facts.id, overlapMs: 0 })).rejects.toMatchObject({
      message: expect.stringContaining('neither revoked nor expired') as string,
      context: { remedy: expect.stringContaining('revoke it and create another') as string },
    })
    await revokeKey(store, facts.id)
    await insertKey(store, { name: 'over', role: 'viewer' })
  })

  it('cannot be revoked if it does not exist', async () => {
    await expect(revokeKey(store, 'unknown')).rejects.toMatchObject({ code: 'not_found' })
  })

  it.each([
    '',
    'tnr_',
    'tnr_xx_yy',
    `tnr_0123456789ab_${'0'.repeat(47)}`,
    `tnr_0123456789ab_${'0'.repeat(49)}`,
  ])('is not %j', (text) => expect(idOfKey(text)).toBeUndefined())
})
