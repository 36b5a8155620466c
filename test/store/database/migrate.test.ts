/** Migrations: once, from however many processes, and never changed after the fact. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { migrate, migrationsDir } from '../../../store/database/migrate.ts'
import { freshDatabase } from '../../support/servers/servers.ts'

/** A migration that has run somewhere must stay what it was; a change to the schema is a further file. */
const pinned: Record<string, string> = {
  '0001_core.sql': 'cf5ccc313c2328d23e87afbbe9f4f2635f2ecf9574f337d56989e151aa7d1471',
  '0002_log.sql': '4360b6e92320ed741f08559c5fb3935a5b57dbe4ccf57b904ab07491d3e26784',
  '0003_fleet.sql': '3e69f068301e94b39efc6c785d7d516547ea3cfac53296cb7b1ed615055725a2',
  '0004_ledger.sql': 'd155a355fa1ac0bd716739dc3cb7ec9bca61d2a8220578cc0a4c2fe561a33372',
  '0005_drills.sql': '6c2a3960aa478f49948278119c9235a4fb367957d06d0997696dfb0c1cf84e50',
  '0006_monitor.sql': '3e6391fcf441a822f36a9c36d4e2cc6905357b22717af50763af089132b9880c',
  '0007_alert_messages.sql': '66327df1cc2f904ac7dee7f683dce615feb248a3b813e4e86d4be3a3c90ec06f',
  '0008_batches.sql': '891c7b2714241692c7d1c1ed675edc129cba161e95fa6a70cd067f8b80e08d7b',
  '0009_sessions.sql': '74d9671d2bf4cc7cb06e59e34af8ebd62477115a91ca3c2080884363f7776142',
  '0010_pages.sql': '2e977d3d975ad2afc8a2db6f18b42f879f5c0e048ddfde2ae675b6c746dc1e35',
  '0011_features.sql': 'd43065e33fc876e2c3e6677ffe1efef0d2e327f59505a4bc4098aef0c83a35ea',
  '0012_tracking.sql': 'fea845feff822d49de2aeb50fa85767be5c5791d2872b0f0f02d67b303353b59',
  '0013_monitor.sql': '0760263f542c2aa55479db88892dc29fa2042b8ab504f1447348e5520f98a324',
  '0014_limits.sql': '3232b9a8937e9ce736c8291f586dea0518a4f556a9f8a8d331461ccb5f26d790',
  '0016_command_outbox.sql': 'f56437ce6dd1c9e0ea0f37ab4d08d9650164e30b6407e8a21669263763059179',
  '0017_recorded_starts.sql': '5945ac65194f92eee19791b3862962efed895f6877b69a5f1c887adaa7cb77eb',
}

const query = async (url: string, text: string): Promise<Record<string, unknown>[]> => {
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query(text)
  await client.end()
  return rows as Record<string, unknown>[]
}

describe('migrations', () => {
  it('run once when twenty processes migrate at once', async () => {
    const url = await freshDatabase()
    const ran = await Promise.all(Array.from({ length: 20 }, () => migrate(url)))
    const files = readdirSync(migrationsDir).filter((name) => name.endsWith('.sql'))
    expect(ran.flat().sort()).toEqual(files.map((name) => name.replace('.sql', '')).sort())
    expect(await query(url, 'select name from migrations')).toHaveLength(files.length)
    expect(await migrate(url)).toEqual([])
  })

  it('leave nothing behind when one of them fails', async () => {
    const url = await freshDatabase()
    const directory = mkdtempSync(join(tmpdir(), 'tenure-migrations-'))
    writeFileSync(join(directory, '0001_good.sql'), 'create table good (id int);')
    writeFileSync(join(directory, '0002_bad.sql'), 'create table bad (id nonsense);')
    await expect(migrate(url, directory)).rejects.toThrow(/nonsense/)
    expect(await query(url, `select to_regclass('good') as found`)).toEqual([{ found: null }])
    writeFileSync(join(directory, '0002_bad.sql'), 'create table bad (id int);')
    expect(await migrate(url, directory)).toEqual(['0001_good', '0002_bad'])
    rmSync(directory, { recursive: true })
  })

  it('are what they were when they were pinned', () => {
    const digests = Object.fromEntries(
      readdirSync(migrationsDir)
        .filter((name) => name.endsWith('.sql'))
        .map((name) => [
          name,
          createHash('sha256')
            .update(readFileSync(join(migrationsDir, name)))
            .digest('hex'),
        ]),
    )
    expect(digests).toEqual(pinned)
  })
})
