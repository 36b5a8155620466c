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
  '0002_training.sql': '17efcc81af9b1d48b226e65d03aff290760a70237b7ea8a9417b60646e667724',
  '0003_versions.sql': '942711e074428f0d273aa076371a0a0406c7821de36d8d3f70a8476007429f33',
  '0004_retrainings.sql': '9c8573749f53a64a37a4f96a5f06e391dee4ae0146cad205d0096fb8cf1e9711',
  '0005_releases.sql': '0db65c5da7c899aeee21d4d481951f52e879ab546ca16c0677c476de3539b757',
  '0006_champions.sql': '782e0195b18455f6ce8d9ab7b5f9ad8c7325f7c55f7632551a1806a3a71395c4',
  '0007_serving.sql': 'a21d30c6b3738ab343d5e8b5ac7418c23013cc741d58d802c5b224444550b50c',
  '0008_predictions.sql': 'a9b899094a21fc8542ec25710d59fe9820f245517b6d5b89376fc8ec0e63a807',
  '0009_evidence.sql': '03d9a1275055404cfbbc290f0a8930765cb36890b0b2e4a111e5a18927fd3123',
  '0010_batches.sql': '0c35880ad5a9cfb49c2fad20a8ec7331056b0339b4171d62dc72cd6c22cf4870',
  '0011_outcomes.sql': 'f8fc24d6d94999b64a806e9be793e686f6445fa663d319906aadea0932caaaec',
  '0012_monitoring.sql': '2b5e9131d37d658bf3c303e04b8e0ca1601b9fcb03be13cb696c8e79954817eb',
  '0013_alerts.sql': '273a1915ccd2a61a7d95e1c960a3a22befc2b4410f20d72afc298567873c11b1',
  '0014_access.sql': 'ea78898364f974d747067054d4a48ff5c3f758a65d439f33e8f1be6eeaefae17',
  '0015_privacy.sql': '431825542bd4bf8d5905686a4e6c0fc4f85969af087816bfa2872e0f79af54ea',
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
