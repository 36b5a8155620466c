/** Makes the environment of Python with the peers of trainings: TensorFlow, LightGBM and scikit-learn. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir } from '../../../temporal.config.ts'

const packages = ['tensorflow-cpu==2.15.1', 'lightgbm==4.7.0', 'scikit-learn==1.9.1', 'duckdb==1.5.5']

/** Returns the path of the interpreter: the given one, or that of an environment in the cache, made on first use. */
export function pythonOfPeers(given: string): string {
  if (given !== '') return given
  const home = join(cacheDir(), 'bench-train-2.15.1')
  const python = join(home, 'bin', 'python')
  if (!existsSync(python)) {
    execFileSync('python3', ['-m', 'venv', home])
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', ...packages], { stdio: 'inherit' })
  }
  return python
}
