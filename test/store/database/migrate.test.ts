/** Tests migrations: each runs once for any number of processes, and never changes afterwards. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { migrate, migrationsDir } from '../../../store/database/migrate.ts'
import { freshDatabase } from '../../support/servers/servers.ts'

/** Digests of released migrations. A migration that has run must not change; a schema change is a new file. */
const pinned: Record<string, string> = {
  '0001_models.sql': 'cccac61a0e90cf0b156b760dc716fa5421b35c62f8c6ac1f72406e4e055a802c',
  '0002_training.sql': '107f6e55a2dcf46397564c8e53934af4c4f2286160caee50a204005b031ebe04',
  '0003_versions.sql': '3362e66092640c1dce757c8cd0428ecfcc4a58e8605969ac0a79d93d9c0be6ae',
  '0004_retrainings.sql': 'c776861abfeb8ed16b4975652c673728c12d36b292dab2324e4b81483b845c53',
  '0005_releases.sql': '561980b94d65c3bff74ec44f3488ece7fbc02e85c78f4f56cf9c9940edc0f1f1',
  '0006_champions.sql': 'e97b5aa50f70d9835f85de5d1e01c737f9afdbce0c31f4e33219bf1392e802eb',
  '0007_serving.sql': '5fd76a5af862d5c51f6c6c809f89caf490dbe813c146fc13ecd0061b6a27eb1a',
  '0008_predictions.sql': 'a9b899094a21fc8542ec25710d59fe9820f245517b6d5b89376fc8ec0e63a807',
  '0009_evidence.sql': 'c376d252d345ffd9144e0cf2d618ab6657e2a224ff847e7616206a49c0dc6e78',
  '0010_batches.sql': 'a31771b08ce29e1684a29486d2c8d2c8ab39e621cbbb8b1c7dbb9e3e8b1f2525',
  '0011_outcomes.sql': '663edad30b6a5b15c513012c13ec8968b1b0521926a6c387c9ea65526a55b390',
  '0012_monitoring.sql': '96d9f716343d5180a5f878e99b221a5387e2a27d5b0f20d37fa762e1a5476ab5',
  '0013_alerts.sql': '273a1915ccd2a61a7d95e1c960a3a22befc2b4410f20d72afc298567873c11b1',
  '0014_access.sql': 'ea78898364f974d747067054d4a48ff5c3f758a65d439f33e8f1be6eeaefae17',
  '0015_privacy.sql': '14e96f8f08087084c25547dcff76d889b553707d6b074f00a5fae28fb3c5997d',
  '0016_features.sql': '327f948e54a05e560998e1145e9307d19e133ce142b37cc16b6e2f193161973e',
  '0017_streams.sql': 'f90ca4e41696640ff464d4dc475278abd5bd48cac782b32f07d89eb6b2cabe54',
  '0018_integrations.sql': 'e408c1c0e2eff6703bbdbb3569e164785b03a8831521fe66737cc1d83366c5b7',
  '0019_audit.sql': '250fb2151aaf5b13a14fb59ef7f257d0e93b7c4cc25fe76ad2da67892fda5e7d',
  '0020_roles.sql': 'd5904f0023ee53dfa8a47bc1b109707b1ce701a96257e1e67818932ac21a226d',
  '0021_scopes.sql': '664ffb46bcd6d1a80fec47541bf852c46b846578673c460c700831c753ae7a20',
}

const query = async (url: string, text: string): Promise<Record<string, unknown>[]> => {
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query(text)
  await client.end()
  return rows as Record<string, unknown>[]
}

describe('migrations', () => {
  it('have closed their connections when they end', async () => {
    const url = await freshDatabase()
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
    const before = sockets()
    expect(await migrate(url)).not.toEqual([])
    // A connection of an earlier test file may close in between.
    expect(sockets()).toBeLessThanOrEqual(before)
  })

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

  it('match their pinned digests', () => {
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
