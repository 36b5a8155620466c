/** Compares figures in the sentences of pages with the constants of the code. Tables of references are generated instead. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { maxSourceFiles } from '../../activities/data/source-files.ts'
import { minReplayRows } from '../../activities/trainers/result-folder.ts'
import { sessionMs } from '../../api/auth/cookie.ts'
import { predictBytes } from '../../api/http/route.ts'
import { maxTableRows } from '../../api/outcomes/database-table.ts'
import { defaultMaxInstances } from '../../api/serving/replica-assembly.ts'
import { maxRequestInputs, maxRequestValues } from '../../api/serving/version/loaded-version.ts'
import { reviewDays } from '../../api/services/review/review-queue.ts'
import { defaultLimits } from '../../api/transport/predict-endpoint.ts'
import { alphaFor, type AlphaSplit } from '../../domain/canary/alpha-split.ts'
import { defaultCanaryPolicy, evidenceEffect } from '../../domain/canary/policy.ts'
import { maxExposed } from '../../store/dashboard/release-detail.ts'
import { searchedAudit } from '../../store/dashboard/lists.ts'
import { defaultGatePolicy } from '../../domain/evaluation/policy.ts'
import { defaultLabelPolicy } from '../../domain/monitoring/label-maturity.ts'
import { defaultMonitorPolicy } from '../../domain/monitoring/policy.ts'
import { periodsOf } from '../../models/define/data/query.ts'
import { connectionShortage, maxConnectionsOf } from '../../store/database/connection-budget.ts'
import { silentMs } from '../../store/maintenance/worker-heartbeats.ts'
import { repeatableHours } from '../../store/serving/prediction-replays.ts'
import { defaultOverlapMs } from '../../store/signing/rotate-signing-key.ts'
import { checkout } from '../../temporal.config.ts'

/** The processes of the chart during an update, with one command. */
const updated = { api: 4, control: 4, train: 2, commands: 1 }
const connections = Object.entries(updated).reduce(
  (sum, [kind, count]) => sum + count * maxConnectionsOf(kind as keyof typeof updated),
  0,
)
const enough = Array.from({ length: 1_000 }, (_, most) => most).find(
  (most) => connectionShortage(updated, most) === undefined,
)
const { evidence } = defaultGatePolicy('binary')
const written = (figure: number) => figure.toLocaleString('en-US')
const hourMs = 3_600_000
const dayMs = 24 * hourMs
/** The split of the page about late labels, as of 27 November. */
const { train, test } = periodsOf(
  { trainMs: 90 * dayMs, testMs: 18 * dayMs, maturedMs: 46 * dayMs },
  Date.UTC(2026, 10, 27),
)
const day = (ms: number) =>
  new Date(ms).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' }).slice(0, 6)
const alphas: AlphaSplit = {
  ...alphaFor({ business: true, external: true }),
  reserve: alphaFor({ business: false, external: false }).reserve,
}

it.each([
  ['how-to/machines/kubernetes.md', `may open ${connections} connections`],
  ['how-to/machines/kubernetes.md', `set \`max_connections\` to ${enough} or more`],
  [
    'clients/http.md',
    `| rows of a prediction | ${written(defaultMaxInstances)}; fewer where a row has more than ${maxRequestValues / defaultMaxInstances} fields: ${written(maxRequestValues)} values, and ${written(maxRequestInputs)} inputs`,
  ],
  ['clients/http.md', `| body of a prediction | ${predictBytes / 1_048_576} MiB |`],
  ['clients/http.md', `| time in the queue of a replica | ${defaultLimits.maxWaitMs} ms |`],
  ['dashboard.md', `A session ends after ${{ 8: 'eight' }[sessionMs / hourMs]} hours`],
  ['dashboard.md', `the newest ${written(searchedAudit)} audit entries`],
  ['dashboard.md', `newest first, at most ${written(maxExposed)}.`],
  ['how-to/evaluation/reviews.md', `It reaches back ${{ 7: 'seven' }[reviewDays]} days`],
  ['how-to/durable-logging.md', `gets the first response for ${{ 48: 'two' }[repeatableHours]} days`],
  ['how-to/rotate-keys.md', `Its signatures count for another ${{ 24: 'day' }[defaultOverlapMs / hourMs]}`],
  [
    'how-to/late-labels.md',
    `${day(train.fromMs)} ────── train 90 d ────── ${day(train.toMs)} ── test 18 d ── ${day(test.toMs)} ── matured 46 d ── 27 Nov`,
  ],
  [
    'how-to/late-labels.md',
    `"Enough" is \`evaluation.evidence\`: ${written(evidence.rows)} rows, with ${evidence.positives} of each class`,
  ],
  ['how-to/late-labels.md', `(${defaultMonitorPolicy.observedMs / dayMs} days unless set)`],
  [
    'how-to/late-labels.md',
    `fewer than ${100 * defaultLabelPolicy.minCoverage} % of the predictions in the window have an outcome`,
  ],
  ['how-to/machines/object-store.md', `At most ${written(maxSourceFiles)} files match`],
  ['how-to/train-in-python.md', `at least ${minReplayRows} rows with the answers`],
  ['outcomes.md', `${written(maxTableRows)} rows a call`],
  ['runbooks/worker-silent.md', `a heartbeat for ${silentMs / 1_000} seconds`],
])('the page %s says "%s"', (page, sentence) =>
  expect(readFileSync(join(checkout, 'docs', page), 'utf8').replaceAll(/\s+/g, ' ')).toContain(sentence),
)

it('the table of guards has one row for each test of a release, with its α, and none for another', () => {
  const page = readFileSync(join(checkout, 'docs', 'judgements.md'), 'utf8')
  const rows = [
    ...page.matchAll(/^\|[^|]*\(`(\w+)`\) \|[^|]*\| (harm|difference) \| ([^|]+) \| ([\d.]+)[^|]*\|/gm),
  ]
  const shown = rows.map(([, test, , , alpha]) => [test, Number(alpha)])
  expect(Object.fromEntries(shown)).toEqual(alphas)
  expect(rows).toHaveLength(Object.keys(alphas).length)
  const asking = rows.filter(([, , , does]) => does!.startsWith('asks')).map(([, test]) => test!)
  const asked = Object.keys(alphas).filter((test) =>
    evidenceEffect(defaultCanaryPolicy, test).includes('approver'),
  )
  expect(asking.toSorted()).toEqual(asked.toSorted())
  // What tests for a difference alone never rolls back by default.
  expect(rows.filter(([, , tests]) => tests === 'difference').map(([, test]) => test)).toEqual(asking)
})
