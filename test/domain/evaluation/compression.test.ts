/** Tests what the gate says of a compressed version beside its parent, with the labels and without them. */
import { formatOf } from '@tenure/predictors'
import { artifactFormats, type ArtifactFormatName } from '@tenure/predictors/format-names'
import { describe, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import {
  beside,
  compressionText,
  fidelityLine,
  judgeWorth,
  rowsPerSecondOf,
  type GateCompression,
} from '../../../domain/evaluation/compression.ts'
import { defaultFidelity, judgeFidelity } from '../../../domain/evaluation/fidelity.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { hasComparableBytes, issueOfParent } from '../../../domain/model/compression.ts'
import type { Features } from '../../../domain/model/features.ts'
import { gateIssues } from '../../../domain/release/certificate.ts'

const policy = { ...defaultGatePolicy('binary'), resamples: 100, floors: { auc: 0.5 } }
const output = { kind: 'probability', positive: 'yes', threshold: 0.5 } as const
const costs = {
  rowsPerSecond: { parent: 100_000, child: 101_000 },
  p99Us: { parent: 20, child: 19.8 },
  memoryBytes: { parent: 800_000, child: 790_000 },
}

/** Judges a child that answers `change` more than its parent, beside the champion, which is the parent. */
function judged({
  rows = 1_200,
  change = 0,
  child = 250_000,
  labels = true,
  hasBytes = true,
  refused = 0,
} = {}) {
  const bytes = hasBytes ? { parent: 412_000, child } : undefined
  const uniform = seededRandom(1)
  const y = Array.from({ length: rows }, () => (uniform() < 0.4 ? 1 : 0))
  const parent = y.map((label) => [0.1 + 0.3 * uniform() + (labels ? 0.4 * label : 0)])
  const challenger = parent.map(([value], row) => [row < refused ? NaN : value! + change])
  const compression: GateCompression = {
    version: 'm_v1.2.0',
    artifact: `sha256:${'a'.repeat(64)}`,
    to: 'float16',
    bytes,
    counts: { trees: { parent: 40, child: 40 }, leaves: { parent: 400, child: 390 } },
    rawBound: 0.00151,
    answerBound: 0.000_371,
    fidelity: judgeFidelity({
      parent,
      child: challenger,
      version: { output },
      policy: defaultFidelity(policy),
      certificate: { bound: 0.000_371 },
    }),
    cost: costs,
    worth: judgeWorth({ ...costs, bytes }),
  }
  return judgeGate({ y, challenger, champion: parent, compression }, policy)
}
const codes = ({ reasons }: { reasons: readonly { code: string }[] }) => reasons.map(({ code }) => code)

describe('a compressed version', () => {
  it('passes when it answers like its parent and is smaller, though it is no better', () => {
    const report = judged({ change: 1e-4 })
    expect(report.verdict).toBe('not_worse')
    expect(codes(report).slice(-2)).toEqual(['fidelity_equal', 'worth_it'])
    expect(gateIssues({ report, inputs: { leakage: {} } })).toEqual([])
  })

  it('fails when it answers otherwise, however many labels it predicts', () => {
    const report = judged({ change: 0.05 })
    expect(report.verdict).toBe('not_better')
    expect(codes(report)[0]).toMatch(/^fidelity_/)
    expect(report.reasons[0]!.message).toMatch(/^beside its parent m_v1\.2\.0: /)
    // The verification of a certificate finds a verdict that the table contradicts.
    expect(gateIssues({ report: { ...report, verdict: 'not_worse' }, inputs: { leakage: {} } })).not.toEqual(
      [],
    )
  })

  it('fails with its figures when it is hardly smaller', () => {
    const report = judged({ child: 400_000 })
    expect(report.verdict).toBe('not_better')
    expect(report.reasons[0]).toMatchObject({
      code: 'not_worth_it',
      message:
        'not worth it beside its parent m_v1.2.0: bytes 1.03 × (412 → 400 KB), memory 1.01 ×, rows a second 1.01 ×, p99 1.01 ×; one of them must be 1.20 × or more, and none below 0.9091 × by more than 1 µs a row',
    })
  })

  it('has no verdict while too few rows prove that it answers like its parent', () => {
    const report = judged({ rows: 30, change: 1e-4 })
    expect(report.verdict).toBe('insufficient')
    expect(codes(report).some((code) => code.startsWith('fidelity_'))).toBe(true)
  })

  it('fails for test rows that it refuses, first because it differs from its parent', () => {
    const report = judged({ refused: 60 })
    expect(report.verdict).toBe('not_better')
    expect(codes(report)).toEqual(['fidelity_certificate_broken', 'challenger_unreadable'])
    const page = gateMarkdown(report, { model: 'm', challenger: 'x', champion: 'm_v1.2.0' })
    expect(page).toMatch(/\| test row 0 \| 0\.\d+ \| refused: the answer is not finite \| 1 \| another \|/)
    expect(page).toContain('60 other decisions')
  })

  it('has a table beside its parent in the report, with the rows that differ most', () => {
    const page = gateMarkdown(judged({ change: 1e-4 }), { model: 'm', challenger: 'x', champion: 'm_v1.2.0' })
    expect(page).toContain('## Beside its parent m\\_v1.2.0')
    expect(page).toContain('| bytes | 412,000 | 250,000 | 1.65 × |')
    expect(page).toContain('| bytes in memory | 800,000 | 790,000 | 1.01 × |')
    expect(page).toContain('1,200 test rows, proven equal: mean distance 0.0001')
    expect(page).toContain('The rows with the largest differences')
  })

  it('says what it was asked beside the test rows, and what is missing', () => {
    const { fidelity } = judged({ change: 1e-4 }).compression!
    const requests = {
      rows: 0,
      answered: 0,
      since: 'Monday',
      to: 'Sunday',
      leftOut: ['those of m are left out'],
    }
    expect(fidelityLine({ fidelity, requests })).toMatch(
      /\. No logged requests: the log has none from Monday to Sunday that can be asked again; those of m are left out$/,
    )
    const unasked = 'the others would have taken longer than 10 min'
    const cut = { ...requests, rows: 5_000, answered: 3_000, leftOut: [], unasked }
    expect(fidelityLine({ fidelity: { ...fidelity, rows: 4_200, requests: 3_000 }, requests: cut })).toMatch(
      /^1,200 test rows and 3,000 logged requests, proven equal: .*\. 3,000 of 5,000 logged requests from Monday to Sunday were asked again; the others would have taken longer than 10 min$/,
    )
    const refused = { parent: { rows: 1, why: 'no size' } }
    expect(fidelityLine({ fidelity: { ...fidelity, refused } })).toMatch(
      /\. 1 row that the parent refuses was not compared: no size$/,
    )
  })

  it('is told in one line, whose bound is not rounded down', () => {
    expect(compressionText(judged().compression!)).toBe(
      'compressed from m_v1.2.0, float16: 412 → 250 KB, 1.01 × rows/s, |Δ| ≤ 0.00038',
    )
  })

  it.each([
    ['fewer-trees', 'trees', '20 of 40 trees'],
    ['prune', 'weights', '20 of 40 weights'],
    ['int8', 'weights', 'int8'],
  ] as const)('is told with what is left of it by %s', (to, part, how) => {
    const text = compressionText({
      ...judged().compression!,
      to,
      counts: { [part]: { parent: 40, child: 20 } },
    })
    expect(text).toContain(`compressed from m_v1.2.0, ${how}: 412 → 250 KB`)
  })
})

describe('the worth of a compression', () => {
  const bytes = { parent: 100, child: 50 }
  it.each([
    ['is there with half of the bytes', costs, true],
    ['is not there when it takes more memory', { ...costs, memoryBytes: { parent: 8, child: 9 } }, false],
    ['is not there when rows take longer for it', { ...costs, p99Us: { parent: 20, child: 23 } }, false],
    [
      'is there when a row takes less than a microsecond longer',
      { ...costs, p99Us: { parent: 2, child: 2.9 } },
      true,
    ],
    ['is not there when a row takes longer than that', { ...costs, p99Us: { parent: 2, child: 3.1 } }, false],
    [
      'is there with other rows a second alone',
      { ...costs, rowsPerSecond: { parent: 80, child: 100 } },
      true,
    ],
  ])('%s', (_what, cost, isWorthIt) => {
    expect(judgeWorth({ ...cost, bytes }).verdict === 'worth_it').toBe(isWorthIt)
  })
  it('needs the factor that is asked for', () => {
    expect(judgeWorth({ ...costs, bytes }, 2).verdict).toBe('worth_it')
    expect(judgeWorth({ ...costs, bytes }, 2.01).verdict).toBe('not_worth_it')
  })
})

it.each([
  [{ artifact: 'trees' as const, files: { 'model.txt': {} } }, undefined],
  [{ files: { 'model.json': {}, 'weights.bin': {} } }, undefined],
  [
    { artifact: 'endpoint' as const, files: { 'endpoint.json': {} } },
    /^its artifact is endpoint \(endpoint\.json\), which can be compressed to distil$/,
  ],
  [
    {
      artifact: 'endpoint' as const,
      files: { 'endpoint.json': {} },
      features: { review: { kind: 'text' } } as unknown as Features,
    },
    /which can be compressed to nothing$/,
  ],
  [{ artifact: 'trees' as const, files: { 'model.txt': {} }, drill: 'slow' }, /the version of a drill/],
])('says of %j what can be compressed', (manifest, why) => {
  const issue = issueOfParent({ features: {}, ...manifest, to: 'float16' })
  if (why === undefined) expect(issue).toBeUndefined()
  else expect(issue).toMatch(why)
})

describe('a network that learns the answers', () => {
  const parentOf = (artifact: ArtifactFormatName, features: Features = {}) =>
    issueOfParent({ artifact, files: {}, features, to: 'distil' })
  it.each(Object.keys(artifactFormats) as ArtifactFormatName[])(
    'may have a parent of the format %s',
    (name) => {
      expect(parentOf(name, { size: { kind: 'number' }, colour: { kind: 'category' } })).toBeUndefined()
    },
  )
  it.each(['text', 'vector', 'image'])('has no parent with a feature of the kind %s', (kind) => {
    expect(parentOf('endpoint', { review: { kind, dimensions: 2 } } as unknown as Features)).toBe(
      `its feature review is of the kind ${kind}, and a small network learns from numbers and categories alone`,
    )
  })
  it.each(Object.keys(artifactFormats) as ArtifactFormatName[])(
    'has its bytes compared with those of %s only where the file is what answers',
    (name) => {
      expect(hasComparableBytes({ artifact: name })).toBe(['tfjs-layers', 'trees', 'onnx'].includes(name))
    },
  )
  it('may have more bytes than an endpoint, which the reason says', () => {
    const worth = judgeWorth({ ...costs, p99Us: { parent: 4_000, child: 2 } }, 20)
    expect(worth).toMatchObject({ verdict: 'worth_it', times: { p99: 2_000 } })
    const { compression } = judged()
    const rowsPerSecond = { parent: 48, child: 967_979 }
    const cost = { rowsPerSecond, p99Us: { parent: 46_513.6, child: 1.4 } }
    expect(beside({ ...compression!, counts: {}, bytes: undefined, cost, worth: judgeWorth(cost) })).toEqual([
      ['rows a second', '48', '967,979', '20,166 ×'],
      ['p99 of a row, µs', '46,514', '1.4', '33,224 ×'],
    ])
    const { reasons } = judged({ hasBytes: false })
    expect(reasons.at(-1)!.message).toContain(
      'rows a second 1.01 ×, p99 1.01 ×, and bytes and memory are not compared, because the parent is code or an endpoint;',
    )
    expect(
      compressionText({
        ...compression!,
        to: 'distil',
        taughtRows: 80_000,
        bytes: undefined,
        answerBound: undefined,
      }),
    ).toBe('compressed from m_v1.2.0, distil with its answers to 80,000 training rows: 1.01 × rows/s')
    const taughtRequests = { rows: 700, taught: 620, logged: 600, since: 'Monday', to: 'Sunday', leftOut: [] }
    const learnt = { ...compression!, to: 'distil', taughtRows: 80_000, taughtRequests } as const
    expect(compressionText(learnt)).toContain('its answers to 80,000 training rows and 620 logged requests: ')
    expect(fidelityLine(learnt)).toMatch(/\. It has learnt from 620 logged requests from Monday to Sunday, /)
  })
})

it('has a way for each method that a file is listed with', () => {
  for (const [name, format] of Object.entries(artifactFormats)) {
    const hasMethods = 'compressions' in format
    expect(formatOf({ artifact: name as ArtifactFormatName }).compress !== undefined, name).toBe(hasMethods)
  }
})

describe('rows a second', () => {
  const rows = (count: number, us: number) => Array.from({ length: count }, () => us)
  it('are those of rows between interruptions of the process, wherever these are', () => {
    expect(rowsPerSecondOf(rows(2_000, 4))).toBe(250_000)
    const interrupted = rows(2_000, 4).map((us, row) => (row % 300 === 250 ? 9_000 : us))
    expect(rowsPerSecondOf(interrupted)).toBe(250_000)
  })
  it('have the last rows and few rows in them', () => {
    expect(rowsPerSecondOf([...rows(210, 8), ...rows(195, 4)])).toBeCloseTo(1e6 / 4.1, 6)
    expect(rowsPerSecondOf([10, 30])).toBe(50_000)
  })
})
