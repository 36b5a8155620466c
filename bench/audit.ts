/**
 * Measures how long a verification of the whole audit log takes, from the first row to the signed head:
 * `npm run bench:audit -- --rows 1000000 --runs 5`.
 */
import { mkdtempSync, rmSync, chmodSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import sql from 'sql-template-tag'
import { startPostgres } from '../cli/embedded/postgres.ts'
import { headFiles, openHeads } from '../store/audit/signed-heads.ts'
import { hashOf, verifyAudit } from '../store/audit/audit-log.ts'
import { migrate } from '../store/database/migrate.ts'
import { openStore } from '../store/postgres.ts'
import { openSigner } from '../store/signing/signing-key.ts'

const { values } = parseArgs({
  options: { rows: { type: 'string', default: '1000000' }, runs: { type: 'string', default: '5' } },
})
const rows = Number(values.rows)
const place = mkdtempSync(join(tmpdir(), 'tenure-audit-'))
chmodSync(place, 0o711)
const postgres = await startPostgres({ dataDir: join(place, 'postgres'), durable: false })
const store = openStore(postgres.url, { max: 2, queryMs: 120_000 })
try {
  await migrate(postgres.url)
  const heads = openHeads(
    headFiles({ stateDir: place, artifactRoot: place }),
    await openSigner(join(place, 'k.pem')),
  )
  const from = performance.now()
  await heads.append(await fill())
  console.log(`${rows} rows written in ${((performance.now() - from) / 1_000).toFixed(1)} s`)
  const times: number[] = []
  for (let run = 0; run < Number(values.runs); run++) {
    const start = performance.now()
    const { heads: known, issues } = await heads.read()
    const report = await verifyAudit(store, { heads: known })
    times.push((performance.now() - start) / 1_000)
    if (report.rows !== rows || report.breach !== undefined || issues.length > 0)
      throw new Error(`the chain is not whole: ${JSON.stringify(report)}`)
  }
  times.sort((one, other) => one - other)
  const shown = [times[0]!, times[Math.floor(times.length / 2)]!, times.at(-1)!].map(
    (each) => `${each.toFixed(2)} s`,
  )
  console.log(
    `${rows} rows verified ${times.length} times: min ${shown[0]}, median ${shown[1]}, max ${shown[2]}`,
  )
  console.log(`resident memory at the end: ${Math.round(process.memoryUsage.rss() / 1_048_576)} MiB`)
} finally {
  await store.close()
  await postgres.stop()
  rmSync(place, { recursive: true, force: true })
}

/** Audit rows as a release writes them. */
async function fill() {
  let head = { seq: 0, hash: '0'.repeat(64) }
  while (head.seq < rows) {
    const batch = Array.from({ length: Math.min(10_000, rows - head.seq) }, () => {
      const seq = head.seq + 1
      const row = {
        seq,
        at: new Date(1_767_225_600_000 + seq * 1_000).toISOString(),
        actor: 'release',
        action: 'routing.changed',
        subject: `rel_${seq % 1_000}`,
        model: 'flight-delay',
        detail: {
          stage: 'canary',
          stageIndex: seq % 4,
          shareBp: 500,
          generation: seq,
          digests: { a: 'x', p: 'y' },
        },
        previousHash: head.hash,
      }
      head = { seq, hash: hashOf(row) }
      return { ...row, hash: head.hash }
    })
    await store.query(sql`
      insert into audit (seq, at, actor, action, subject, model, detail, previous_hash, hash)
      select seq, at, actor, action, subject, model, detail, decode("previousHash", 'hex'), decode(hash, 'hex')
      from jsonb_to_recordset(${JSON.stringify(batch)}::jsonb) as row(seq bigint, at timestamptz, actor text, action text,
        subject text, model text, detail jsonb, "previousHash" text, hash text)`)
  }
  return head
}
