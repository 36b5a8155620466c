/** Tests every kind of connection to a Postgres that refuses unencrypted ones, with a private authority. */
import {
  chownSync,
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningPostgres, startPostgres } from '@tenure/embedded'
import { foreignReader } from '../../../store/database/cursor.ts'
import { openRoles } from '../../../store/database/application-role.ts'
import { migrate } from '../../../store/database/migrate.ts'
import { diagnose } from '../../../store/maintenance/diagnostics.ts'
import { openDump } from '../../../store/maintenance/dump.ts'
import { openStore } from '../../../store/postgres.ts'
import { readConfig } from '../../../temporal.config.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import { createAuthority } from '../../support/signing/certificates.ts'

const root = mkdtempSync(join(tmpdir(), 'tenure-postgres-tls-'))
chmodSync(root, 0o711)
let postgres: RunningPostgres
let ca: string
let otherCa: string

beforeAll(async () => {
  const dataDir = join(root, 'postgres')
  const authority = createAuthority(root)
  ca = authority.ca
  otherCa = createAuthority(root, 'other').ca
  const issued = authority.issue('server', 'IP:127.0.0.1')
  postgres = await startPostgres({ dataDir })
  const { uid, gid } = statSync(dataDir)
  for (const [from, name] of [
    [issued.cert, 'server.pem'],
    [issued.key, 'server.key'],
  ] as const) {
    const file = join(dataDir, name)
    copyFileSync(from, file)
    chownSync(file, uid, gid)
    chmodSync(file, 0o600)
  }
  const access = join(dataDir, 'pg_hba.conf')
  writeFileSync(access, readFileSync(access, 'utf8').replaceAll(/^host\b/gm, 'hostssl'))
  const owner = new pg.Client(postgres.url)
  await owner.connect()
  for (const [name, value] of [
    ['ssl_cert_file', 'server.pem'],
    ['ssl_key_file', 'server.key'],
    ['ssl', 'on'],
  ])
    await owner.query(`alter system set ${name} = '${value}'`)
  await owner.query('select pg_reload_conf()')
  await owner.end()
  await until(async () => /without TLS/.test(await failureOf(postgres.url)), 'TLS to be required')
})
afterAll(async () => {
  await postgres.stop()
  rmSync(root, { recursive: true })
})

const secure = (authority: string, host = '127.0.0.1'): string => {
  const url = new URL(postgres.url)
  url.hostname = host
  url.searchParams.set('sslmode', 'verify-full')
  url.searchParams.set('sslrootcert', authority)
  return url.toString()
}

async function failureOf(url: string): Promise<string> {
  const store = openStore(url, { name: 'test', max: 1, connectMs: 60_000, queryMs: 60_000 })
  try {
    await store.query(sql`select 1`)
    return 'connected'
  } catch (error) {
    expect(error).toMatchObject({ code: 'postgres_unavailable' })
    return (error as Error).message
  } finally {
    await store.close()
  }
}

describe('a Postgres that requires TLS', () => {
  it('is reached by every kind of connection', async () => {
    const url = secure(ca)
    expect((await migrate(url)).length).toBeGreaterThan(10)
    expect(await openRoles(url, { reader: 'r' })).toBe(true)
    const readerUrl = new URL(url)
    readerUrl.username = 'tenure_reader'
    readerUrl.password = 'r'
    const store = openStore(url, { name: 'test', readerUrl: readerUrl.toString() })
    try {
      expect(
        await store.query(sql`select ssl, version from pg_stat_ssl where pid = pg_backend_pid()`),
      ).toEqual([{ ssl: true, version: 'TLSv1.3' }])
      const heard: (string | undefined)[] = []
      const unlisten = store.listen('tls', (payload) => heard.push(payload))
      await until(() => heard.length > 0, 'the listener to be connected')
      await store.query(sql`select pg_notify('tls', 'hello')`)
      await until(() => heard.includes('hello'), 'the notification')
      await unlisten()
      const batches: unknown[] = []
      await foreignReader(store)('select 1 as one', async (batch) => void batches.push(batch))
      expect(batches).toHaveLength(1)
    } finally {
      await store.close()
    }
    expect(await diagnose(url, 'test')).toMatchObject({ migrations: {} })
    const dump = await openDump(url)
    await dump.close()
  })

  it('is refused in a sentence: another authority, another name, no TLS', async () => {
    expect(await failureOf(secure(otherCa))).toMatch(
      /^Postgres did not answer: its certificate is not trusted \([A-Z_]+\); set sslrootcert in the address/,
    )
    expect(await failureOf(secure(ca, 'localhost'))).toMatch(
      /^Postgres did not answer: its certificate is made out to another name \(Host: localhost\. .+\); connect by a name/,
    )
    expect(await failureOf(postgres.url)).toBe(
      'Postgres did not answer: it refuses connections without TLS; add sslmode=verify-full and sslrootcert to the address',
    )
    await expect(migrate(secure(otherCa))).rejects.toThrow(/its certificate is not trusted/)
    expect(await diagnose(secure(otherCa), 'test')).toMatchObject({
      message: expect.stringContaining('its certificate is not trusted'),
    })
  })

  it('names the file of an authority that cannot be read when it starts', () => {
    const url = secure(join(root, 'absent.pem'))
    expect(() => readConfig({ DATABASE_URL: url, HOME: root })).toThrow(
      /DATABASE_URL: sslrootcert is a file that can be read, not ".*absent.pem"/,
    )
  })
})
