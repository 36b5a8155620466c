/** Tests the Python package by its own tests. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'

it('the Python package passes its own tests', async () => {
  const argv = ['-B', '-m', 'unittest', 'discover', '-s', 'packages/python/tests']
  const { stderr } = await promisify(execFile)('python3', argv, { cwd: checkout })
  expect(stderr).toMatch(/\nOK/)
})
