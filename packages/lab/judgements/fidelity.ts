/**
 * Simulates the judge of fidelity: how often a child passes that breaks a limit by as little as it can, and after how many rows an equal one
 * is found; writes packages/lab/judgements/fidelity.md. `npm run bench -- fidelity [--runs 20000] [--found 300] [--seed 1] [--out FILE]`
 */
import { writeFileSync } from 'node:fs'
import type { FidelityPolicy } from '../../../domain/evaluation/fidelity.ts'
import {
  brokenChildren,
  countAnyPassed,
  countVerdicts,
  equalChildren,
  rowsUntilEqual,
  untoldChild,
} from '../../../test/support/evaluation/children.ts'
import { figureTable, quantileOf, roundedNumber } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { atMostText } from './table.ts'

const options = readOptions({ runs: 20_000, found: 300, seed: 1, out: reportFile('judgements/fidelity.md') })
const { runs, seed } = options
const policy: FidelityPolicy = { epsilon: 0.05, flips: 0.05, alpha: 0.05 }
const looks = [50, 150, 400]
const most = 100_000

const broken = [...brokenChildren, untoldChild].map((child) => {
  const { equal, notEqual } = countVerdicts(child, policy, { runs, looks, seed })
  const row = [
    child.name,
    roundedNumber(equal),
    atMostText(equal, runs),
    roundedNumber(notEqual),
    atMostText(notEqual, runs),
  ]
  console.log(row.join(' | '))
  return row
})

// The child of the list that passes most often, after the fewest rows that can prove anything.
const rare = brokenChildren.find(({ name }) => name === 'rare rows by 1')!
const manyRuns = Math.ceil(runs / 10)
const family = { ...policy, alpha: 0.2 }
const fewRows = 80
const anyPassed = [1, 5, 20].map((children) => {
  const counts = [true, false].map((isSpent) =>
    countAnyPassed(rare, family, { children, runs: manyRuns, rows: fewRows, seed, isSpent }),
  )
  const row = [
    roundedNumber(children),
    ...counts.flatMap((count) => [roundedNumber(count), atMostText(count, manyRuns)]),
  ]
  console.log(row.join(' | '))
  return row
})

const epsilons = [0.001, 0.005, 0.01, 0.02]
const limitsOf = (epsilon: number): FidelityPolicy => ({
  epsilon,
  flips: Math.max(0.01, epsilon),
  alpha: 0.05,
})
const found = equalChildren.map((child) => {
  const row = [
    child.name,
    ...epsilons.map((epsilon) => {
      const rows = Array.from({ length: options.found }, (_, run) =>
        rowsUntilEqual(child, limitsOf(epsilon), { seed: seed * 1e6 + run, most }),
      )
      const lost = rows.filter((count) => count === Infinity).length
      const text = [0.5, 0.9]
        .map((share) => quantileOf(rows, share))
        .map((count) => (count === Infinity ? '–' : roundedNumber(count)))
      return `${text.join(' / ')}${lost === 0 ? '' : `, ${lost} not found`}`
    }),
  ]
  console.log(row.join(' | '))
  return row
})

writeFileSync(
  options.out,
  `# Children that answer like their parents, and children that do not

\`npm run bench -- fidelity --runs ${runs} --found ${options.found} --seed ${seed}\` writes this page. \`judgeFidelity\` judges each child after ${looks.slice(0, -1).join(', ')} and
${roundedNumber(looks.at(-1)!)} rows, until it decides: ε = 5 %, other decisions 5 %, α = 5 %. Each of these children breaks a limit by as little as it can: its mean distance is ε, or its
decisions differ as often as is allowed. Whether it passes or is refused, the judge has claimed what is not so; ${roundedNumber(runs)} runs each, with the one-sided upper
95 % bound of Clopper and Pearson.

${figureTable(['child at the limit', 'passed', 'at most', 'refused', 'at most'], broken).join('\n')}

The last line breaks the judge on purpose: it has the rare entities again, and is not told which rows belong together.

## Several children of one parent

Each compression of a parent is another chance to pass. ${roundedNumber(manyRuns)} runs of so many children with rare rows by 1, which differ in other rows each, the
worst case; ${fewRows} rows, α = ${100 * family.alpha} %, at which so few can prove something. Where each has its share of α, any of them passes in at most α of the runs; with the whole α each, twenty break it:

${figureTable(['children', 'any passed', 'at most', 'any passed, the whole α each', 'at most'], anyPassed).join('\n')}

## Rows until an equal child is found

Median and 90th percentile of ${options.found} runs, up to ${roundedNumber(most)} rows, of which 1 to 20 belong to an entity in the last line. The judge is asked at 100 rows and then again after
as many more as it says are needed. Other decisions: at most 1 %, at ε = 2 % at most 2 %.

${figureTable(['equal child', ...epsilons.map((epsilon) => `ε = ${Number((100 * epsilon).toPrecision(2))} %`)], found).join('\n')}

Children that are the same, the first of their parents, need about 5.7/ε rows: so many are needed to exclude a difference that is too rare to have been seen. A certificate
within ε leaves only the decisions to be tested.
`,
)
