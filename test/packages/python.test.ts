/** Tests the Python package by its own tests, also with pandas where a Python has it, and its wheel with pip. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it, onTestFinished } from 'vitest'
import { pythonWheel } from '../../api/routes/python-wheel.mjs'
import { checkout } from '../../temporal.config.ts'
import { findLibraryPython, hasPackages } from '../support/training/library-python.ts'

const run = promisify(execFile)
const found = findLibraryPython()
const pandas = found !== undefined && hasPackages(found, ['pandas']) ? [found] : []

it.each(['python3', ...pandas])('the Python package passes its own tests with %s', async (python) => {
  const pattern = python === 'python3' ? [] : ['-p', 'test_tables.py']
  const argv = ['-B', '-m', 'unittest', 'discover', '-s', 'packages/python/tests', ...pattern]
  const { stderr } = await run(python, argv, { cwd: checkout })
  expect(stderr).toMatch(python === 'python3' ? /\nOK/ : /\nOK\n/)
})

it('pip installs the wheel without an index, with every module and the version of the package', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-wheel-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const { name, bytes } = pythonWheel(join(checkout, 'packages', 'python'))
  writeFileSync(join(folder, name), bytes)
  await run('python3', ['-m', 'venv', join(folder, 'venv')])
  const python = join(folder, 'venv', 'bin', 'python')
  await run(python, ['-m', 'pip', 'install', '--quiet', '--no-index', '--find-links', folder, 'tenure'])
  const script =
    'import tenure, importlib.metadata as m; from tenure import _onnx, _replay, _tables; ' +
    'print(tenure.__version__, m.version("tenure"), m.metadata("tenure")["Description-Content-Type"], m.requires("tenure"), all(f.locate().exists() for f in m.files("tenure")))'
  const { stdout } = await run(python, ['-I', '-c', script])
  expect(stdout.trim()).toBe(
    `0.1.0 0.1.0 text/markdown ['pandas ; extra == "pandas"', 'pyarrow ; extra == "pandas"', 'skl2onnx ; extra == "onnx"', 'onnxruntime ; extra == "onnx"', 'cloudpickle ; extra == "onnx"', 'temporalio>=1.7 ; extra == "worker"'] True`,
  )
})
