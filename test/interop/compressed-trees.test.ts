/** Tests with real LightGBM, XGBoost and CatBoost that they read compressed files and answer them as the replicas do, within the bound. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { compressTrees, type TreeCompression } from '@tenure/predictors'
import { compareAnswers, encodedRows, readCases } from '../../packages/predictors/test/support/parity.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('compressed-trees.txt')
const script = fileURLToPath(new URL('compressed_trees.py', import.meta.url))

interface Case {
  file: string
  /** Whether the last column is of categories. */
  texts: boolean
  /** As the library takes them. */
  rows: (number | string | null)[][]
  /** As a replica takes them, where they differ. */
  requests?: (number | string | null)[][]
}

/** XGBoost computes link functions in 32 bits. */
const tolerances = { lightgbm: 1e-12, xgboost: 1e-6, catboost: 1e-12 }
/** CatBoost's reader of JSON takes 0.1 and 0.10000000000000001 for different numbers. */
const ofDigits = { lightgbm: 0, xgboost: 0, catboost: 1e-12 }

it.skipIf('reason' in found)(
  'the libraries read compressed files and answer them as the replicas do, within the bound',
  () => {
    const { python } = found as { python: string }
    const folder = mkdtempSync(join(tmpdir(), 'tenure-compressed-'))
    const run = (input: readonly Case[], ...options: string[]): string =>
      execFileSync(python, [script, ...options], {
        input: input.map((each) => JSON.stringify({ ...each, requests: undefined })).join('\n'),
        encoding: 'utf8',
        maxBuffer: 2 ** 28,
      })
    try {
      const lightgbm = readCases()
        .filter(({ name }) => name.startsWith('lightgbm-') && !name.includes('linear'))
        .map(({ name, bytes, rows }): Case => {
          const file = join(folder, `${name}.txt`)
          writeFileSync(file, bytes)
          const encoded = encodedRows({ bytes, rows }).map((row) => row.map(String))
          return { file, texts: false, rows: encoded, requests: rows }
        })
      const parents = [...lightgbm, ...(JSON.parse(run([], folder)) as Case[])]
      const refused: string[] = []
      const children = parents.flatMap((parent) => {
        const bytes = readFileSync(parent.file)
        const { trees } = compressTrees(bytes, { to: 'lossless' })
        // A multiple of the trees of a round, of one or three.
        const half = Math.floor(trees.parent / 12) * 6
        const methods: TreeCompression[] = [{ to: 'lossless' }, { to: 'float16' }, { to: 'int8' }]
        if (half > 0) methods.push({ to: 'fewer-trees', trees: half })
        return methods.flatMap((how) => {
          try {
            const made = compressTrees(bytes, how)
            const file = `${parent.file}-${how.to}.${Buffer.from(made.bytes).subarray(0, 2).equals(Buffer.from('{L')) ? 'ubj' : 'json'}`
            writeFileSync(file, made.bytes)
            return [{ parent, made, file }]
          } catch (error) {
            expect((error as Error).message).toMatch(/saves no byte beyond lossless/)
            refused.push(`${basename(parent.file)} ${how.to}`)
            return []
          }
        })
      })
      const lines = run([...parents, ...children.map(({ parent, file }) => ({ ...parent, file }))])
      const replies = lines.trim().split('\n')
      expect(replies).toHaveLength(parents.length + children.length)
      const answersOf = (at: number) => JSON.parse(replies[at]!) as (number | number[])[]
      const done = { xgboost: 0, catboost: 0, lightgbm: 0 }
      for (const [at, { parent, made, file }] of children.entries()) {
        const name = basename(file)
        const library = name.split('-')[0] as keyof typeof done
        done[library]++
        const answers = answersOf(parents.length + at)
        const { worst, trees } = compareAnswers({
          bytes: Buffer.from(made.bytes),
          rows: parent.requests ?? parent.rows,
          answers,
        })
        expect({ name, trees, isEqual: worst <= tolerances[library], worst }).toMatchObject({
          name,
          trees: made.trees.child,
          isEqual: true,
        })
        const before = answersOf(parents.indexOf(parent)).flat()
        const largest = Math.max(...answers.flat().map((value, k) => Math.abs(value - before[k]!)))
        const bound = (made.answerBound ?? Infinity) + ofDigits[library]
        expect({ name, isWithin: largest <= bound, largest }).toMatchObject({
          name,
          isWithin: true,
        })
      }
      expect(done.xgboost).toBeGreaterThan(2 * 24)
      expect(done.catboost).toBe(20)
      // Leaves that have become equal save bytes.
      expect(refused).not.toContain('xgboost-slow.json float16')
      expect(refused).not.toContain('xgboost-tailed.ubj int8')
      expect(refused).toContain('xgboost-binary.json float16')
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)
