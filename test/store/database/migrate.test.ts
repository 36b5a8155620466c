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
  '0001_models.sql': '436ffc6ebee476dd25a5ba2790778bbbe7c5a96b3b832c26222e47b26f24756c',
  '0002_training.sql': '6fe467e1160fc5201988cba23dff69368c4deb91700d675dd6880c86ecc4fbfb',
  '0003_versions.sql': '38a4933f2545a2f0614bbd9491d7839e38e40f0797282e952de83894b0cdcc87',
  '0004_retrainings.sql': 'e83656933f5c29170b9aae8634cde3ebab42a045e3dd2dd61af5650c6c1ca385',
  '0005_releases.sql': '7bb8abf7e54d38899fc3ebedbc3cb573a7a4c96037cf5b2fdc2dc501e8539ca7',
  '0006_champions.sql': 'c2a702eb07ca52c97092d42750bb6d978ca4bc84116d1a779d4f6680a221efc0',
  '0007_serving.sql': '2d533021108b282e153b0b7729fb47f996b1bea9a38d37aa413fde699f25c50e',
  '0008_predictions.sql': 'cd8c3ca1a1e0cb7cb9fe3e06e71dc7d18ca93c9a2215f097a0249e3a3def3f07',
  '0009_evidence.sql': '03d9a1275055404cfbbc290f0a8930765cb36890b0b2e4a111e5a18927fd3123',
  '0010_batches.sql': '0c35880ad5a9cfb49c2fad20a8ec7331056b0339b4171d62dc72cd6c22cf4870',
  '0011_outcomes.sql': 'f8fc24d6d94999b64a806e9be793e686f6445fa663d319906aadea0932caaaec',
  '0012_monitoring.sql': '57ef72b790922670587758020085dc36e4679825a6a467c505ee0df3133a2103',
  '0013_alerts.sql': '273a1915ccd2a61a7d95e1c960a3a22befc2b4410f20d72afc298567873c11b1',
  '0014_access.sql': 'b04b883eb3f2c148ac3d3105711835f311863a8a425b81695c2da56531aea1bd',
  '0015_privacy.sql': 'd297ee1e82bffb46712d83a42325b957ea69409840b597a75d2a1c01608211ed',
  '0016_features.sql': '327f948e54a05e560998e1145e9307d19e133ce142b37cc16b6e2f193161973e',
  '0017_streams.sql': 'f90ca4e41696640ff464d4dc475278abd5bd48cac782b32f07d89eb6b2cabe54',
  '0018_integrations.sql': 'e408c1c0e2eff6703bbdbb3569e164785b03a8831521fe66737cc1d83366c5b7',
  '0019_audit.sql': '250fb2151aaf5b13a14fb59ef7f257d0e93b7c4cc25fe76ad2da67892fda5e7d',
  '0020_roles.sql': 'd5904f0023ee53dfa8a47bc1b109707b1ce701a96257e1e67818932ac21a226d',
  '0021_scopes.sql': '02ca1bf61e5b4cfeb19e824f30272ee057433ce73a07698c074d08692ae4baf3',
  '0022_expiry.sql': '74ec0c15435a08d1e5f5995aa8a092e41e898b5646ecebd4cba69c50b34a46e9',
  '0023_shadow_rows.sql': '9f12a21058ee0d39494de158e27e9c1e4d2c7cc34a21d8b779a4a5fd1b6cfd45',
  '0024_counted_units.sql': '898ee6148cae79fc57198f77c19f481bc3c6e250e40594b28e4c47b38c7a7556',
  '0025_shared_views.sql': '24e66621b8b86a272ed321cf36f770637b7d95e918c9d1001167724c801f7454',
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
