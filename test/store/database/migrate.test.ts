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
  '0001_registry.sql': 'e8917aa16c7a090a1233243e9cfdba2e3c23f64e64b126ffb39f9b3f434ea4fb',
  '0002_releases.sql': 'd1312bb29a5310e8da859b8dd5110aec1d69678182fdfa32a9d75307e9e02447',
  '0003_serving.sql': '169d7dff378d5506a2d869a1c6159ba5a10a12f9f1052468361ec9f8bf42b4a3',
  '0004_predictions.sql': 'f1ecfd2140eedcfd115aa3755ddddae4373932852117248b804268f56e21b7f4',
  '0005_monitoring.sql': 'be6e7f92e110fe73e21967f0f27c35887482c9cc813a2037e4577ac616e99571',
  '0006_access.sql': '0db6e56ab5812dad91c896e4b20afa7f7cfe3bdedf79b0f67700a877860a4248',
  '0007_privacy.sql': '4fe24ae9a62f1a5dbfe8515535fc5023246c92bbe0a7d19931279c0dc2de6fbd',
  '0008_audit.sql': '8c0812b684c4887d42c2bf3f9e5a0e87ef85b87aae0dca50a2e5a92656dad016',
  '0009_features.sql': '327f948e54a05e560998e1145e9307d19e133ce142b37cc16b6e2f193161973e',
  '0010_integrations.sql': 'e408c1c0e2eff6703bbdbb3569e164785b03a8831521fe66737cc1d83366c5b7',
  '0011_unchanged_retrainings.sql': '5b0ff89d73ea4eb5f6da68899f59e0359420daf9cdca39c69e5b68117b7b869a',
  '0012_audit_signatures.sql': '5789baf184a786e95af5254ae6bb51abf53243f524badef8186192ec74150361',
  '0013_callers.sql': '249948afb83e7c497049f2243fba2ac44f0b1ed55d2680f60485b419b7d150b5',
  '0014_reader.sql': '91a5bd14718ddfa350e4cafb636b82becd8455b9ac23f24d73344e3ae1bc303f',
  '0015_authority.sql': '5824b0d3070eabe130fc0be4a053757aeee031bd871d1f6f95f8b5e9867f2170',
  '0016_sso_identities.sql': 'e0221a0419555a137c84e31d7a93d7e4d4c1ddb3643d98d4d3fd7c73f031e1ef',
  '0017_signed_starts.sql': 'ed300e60e3931054d42e7c3b33f0075b838e1500d93880e1f4df76476b379ed4',
  '0018_overrides_trials_sweeps.sql': 'cbd055d794cb2f9de7e905e1256fd3d815f29a7767edef17967c1eae00bb911b',
  '0019_answers.sql': '0ed521b9cb452ff5a31dcf69d11d6252369006e319a515a7361642ebc29015f3',
  '0022_replica_processes.sql': '336cc9063d85ffa545e539e9d7f9c270e01b60e0fd8dda387fc22d2cc58a6c5b',
  '0023_replica_leases.sql': '848c20adfa8ad2f05ad4474ccf52e461b59b0d7694527dc332a433d807056674',
  '0026_release_requests.sql': '001e42585db306302a142c220f7796794b8372944d14da91a4be1f68f47f2af1',
  '0027_events.sql': 'd654179ca177e83b02fbefa53b1edcf338f50eb3fcc489052c86267421243013',
  '0028_applied_state.sql': '24e28ae5a1002bd52ad20519b9c1d3bad37e99c830ff7cf5567d2717f70f707d',
  '0029_external_readings.sql': 'c1dfa8494dc53d3ee7fb8480401f331368c19ef1c34c34da41c9b7e3667fdaef',
  '0030_stream_positions.sql': 'b599b598555e29346679639b1d1d020154a5ee070158aa1c14448a48e21382f9',
  '0031_triggers.sql': 'fbb2aa29d7772134c1c60d84854e1944a04c0f857ce8faf4a05c3c7510a45a42',
  '0032_sent_alerts.sql': '7d85335cd5051da46532cef2055d143a80d94880631ff47035c1f478ad50919e',
  '0033_reviews.sql': '23867772e789c2e1737b51052470e223e490e75accdb28ffa3ae2e759cfbb0da',
  '0034_batch_partitions.sql': '1a9590c6dabb07480930756977e9591dff787fb68d7f800bc27cb4ba9c803290',
  '0035_targeted.sql': '722235a9d3ed4df93417113b019d95af325900ee3a71aa3f6d7286c0b48c3297',
  '0036_prediction_topics.sql': '31044d89bd835b2943cf88525470f4d687306ccce42110b89f4b8eb5b8ce1be9',
  '0037_batch_triggers.sql': '9a26d93dbddb9fc85998b6fd71d1846f24e528b60db7d0b7d00085acab81070b',
  '0038_batch_reviews.sql': 'f8d1a76aac6959cfbc94bb08da1af7b5e411a2fefd9668fbd2e9c72c4a3ac637',
  '0039_decisions_against.sql': '1c9caca1003e7f27bd7ae077698d9b1da25704148ecfb93201fa73a7ccfe2751',
  '0040_breakers.sql': 'e63a29188bc21b9192aa20b713fc56cdc0b91dedb4bccc66814c5bb72276f00e',
  '0041_error_codes.sql': 'd846ef9c57ccb11d7eef1a150a65c6397cfbdbdc77210564a74c9b817ed6e9dd',
  '0042_queue_by_version.sql': '0ae227e4beda28de62229225d150fc95716c08f671e5af16e457b7e984d8952c',
  '0043_batch_not_found.sql': '3643e4d419bf71b6aec1a836bf52702c51b51123b1d5fc8bfec6cd46422f4f1e',
  '0044_worst_severity.sql': '1ddd7902a5d6c1903f5a60392c08b578b8f3370d00871f9ecb87a76b9a802ffd',
  '0045_sent_severity.sql': '331c22237e68e50704a0a39037c19638bfa3443060f80ce0a95714e4845bf023',
  '0046_logged_batch_rows.sql': '75a5e9dc5dd88262c58fd5b6e9ed116604915d9f45ced9638dc365b1158f8fe4',
  '0047_request_fields.sql': '30e990fad11a3681516b75817e3c8b2a9113ae678a9d02ffb9c573a5a2f4ff04',
  '0048_number_subjects.sql': '5aa3f3849b09ae64bc8b6cd5d57c92d6d383a53d9b35fbcf2768b9bd129dcd35',
  '0049_unread_columns.sql': 'e59e87a992d962d76e36facf0ffb617858965107569b27a444db7689e3c86b66',
  '0050_always_written.sql': '0c2f175e26521064c6e48faf073b2dd95e392cf1cbfd239d57614c2582e1d224',
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
