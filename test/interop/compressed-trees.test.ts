/** Tests with real LightGBM that it reads compressed files and answers them as the replicas do. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { compressTrees } from '@tenure/predictors'
import { compareAnswers, encodedRows, readCases } from '../../packages/predictors/test/support/parity.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('lightgbm.txt')

const script = `
import json, sys, lightgbm, numpy
for line in sys.stdin:
    case = json.loads(line)
    booster = lightgbm.Booster(model_file=case["file"])
    rows = numpy.array([[float(value) for value in row] for row in case["rows"]])
    print(json.dumps({"trees": booster.num_trees(), "answers": booster.predict(rows).tolist()}))
`

it.skipIf('reason' in found)('LightGBM reads compressed files and answers them as the replicas do', () => {
  const { python } = found as { python: string }
  const folder = mkdtempSync(join(tmpdir(), 'tenure-compressed-'))
  try {
    const cases = readCases()
      .filter(({ name }) => name.startsWith('lightgbm-') && !name.includes('linear'))
      .flatMap(({ name, bytes, rows }) =>
        (['float16', 'int8'] as const).map((to) => {
          const made = compressTrees(bytes, { to })
          const file = join(folder, `${name}-${to}.txt`)
          writeFileSync(file, made.bytes)
          return { name, to, file, made, rows }
        }),
      )
    const input = cases.map(({ file, made, rows }) => {
      const bytes = Buffer.from(made.bytes)
      return JSON.stringify({ file, rows: encodedRows({ bytes, rows }).map((row) => row.map(String)) })
    })
    const lines = execFileSync(python, ['-c', script], { input: input.join('\n'), encoding: 'utf8' })
    const replies = lines.trim().split('\n')
    expect(replies).toHaveLength(cases.length)
    for (const [at, { name, to, made, rows }] of cases.entries()) {
      const { trees, answers } = JSON.parse(replies[at]!) as { trees: number; answers: number[] }
      const { worst } = compareAnswers({ bytes: Buffer.from(made.bytes), rows, answers })
      expect({ name, to, trees, isEqual: worst < 1e-12 }).toEqual({
        name,
        to,
        trees: made.trees.child,
        isEqual: true,
      })
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
