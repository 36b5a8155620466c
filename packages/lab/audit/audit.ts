/**
 * Measures how long a verification of the whole audit log takes, from the first row to the signed head:
 * `npm run bench -- audit --rows 1000000 --runs 5`.
 */
import { headFiles, openHeads } from '../../../store/audit/signed-heads.ts'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { fillAudit } from '../harness/audit-rows.ts'
import { openDatabase } from '../../../test/support/servers/private-database.ts'
import { spreadOf } from '../../../test/support/figures.ts'
import { readOptions } from '../harness/options.ts'

const { rows, runs } = readOptions({ rows: 1_000_000, runs: 5 })
const { root, store, stop } = await openDatabase({ durable: false, max: 2, queryMs: 120_000 })
try {
  const heads = openHeads(
    headFiles({ stateDir: root, artifactRoot: root }),
    await openSigner({ keys: root, trust: root }, 'heads'),
  )
  const from = performance.now()
  await heads.append(
    await fillAudit(store, { head: { seq: 0, hash: '0'.repeat(64) }, count: rows, rowOf: changeOf }),
  )
  console.log(`${rows} rows written in ${((performance.now() - from) / 1_000).toFixed(1)} s`)
  const times: number[] = []
  for (let run = 0; run < runs; run++) {
    const start = performance.now()
    const { heads: known, issues } = await heads.read()
    const report = await verifyAudit(store, { heads: known })
    times.push((performance.now() - start) / 1_000)
    if (report.rows !== rows || report.breach !== undefined || issues.length > 0)
      throw new Error(`the chain is not whole: ${JSON.stringify(report)}`)
  }
  const [min, median, max] = spreadOf(times).map((each) => `${each.toFixed(2)} s`)
  console.log(`${rows} rows verified ${runs} times: min ${min}, median ${median}, max ${max}`)
  console.log(`resident memory at the end: ${Math.round(process.memoryUsage.rss() / 1_048_576)} MiB`)
} finally {
  await stop()
}

/** An audit row as a release writes it. */
function changeOf(seq: number) {
  return {
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
  }
}
