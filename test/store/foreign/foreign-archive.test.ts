/** Tests that an archive of files is read as `tar` writes it. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readTar } from '../../../store/bundles/bundle.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'archive-'))
  writeFileSync(join(folder, 'model.pkl'), Buffer.alloc(700, 7))
  writeFileSync(join(folder, 'empty'), '')
})
afterAll(() => rmSync(folder, { recursive: true }))

const packed = (...options: string[]): Buffer =>
  execFileSync('tar', [...options, '-cf', '-', '-C', folder, 'model.pkl', 'empty'])

it.each([
  ['as documented', []],
  ['with records of one block', ['-b1']],
  ['in the format of POSIX', ['--format=ustar']],
])('reads what tar writes %s', (_how, options) => {
  expect([...readTar(packed(...options))].map(([name, bytes]) => [name, bytes.byteLength])).toEqual([
    ['model.pkl', 700],
    ['empty', 0],
  ])
})

it.each([
  ['bytes in the last record', () => Buffer.concat([packed().subarray(0, -1), Buffer.from('x')])],
  ['an empty record more', () => Buffer.concat([packed(), Buffer.alloc(10_240)])],
  ['another archive', () => Buffer.concat([packed('-b1'), packed('-b1')])],
])('refuses %s', (_what, bytes) => {
  expect(() => readTar(bytes())).toThrow('behind its end')
})
