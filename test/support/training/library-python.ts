/** Finds a Python that has the libraries of models. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'

/** Returns the Python of `npm run parity -w @tenure/predictors`, or the one that TENURE_TEST_PYTHON names. */
export function findLibraryPython(): string | undefined {
  const given = environmentWith({})['TENURE_TEST_PYTHON']
  const names = existsSync(cacheDir()) ? readdirSync(cacheDir()) : []
  const made = names
    .filter((name) => name.startsWith('parity-'))
    .map((name) => join(cacheDir(), name, 'bin', 'python'))
  return [given, ...made].find((path) => path !== undefined && existsSync(path))
}

/** Looks for packages without importing them, which takes two seconds for each library. */
export function hasPackages(python: string, packages: readonly string[]): boolean {
  const look = `import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, ${JSON.stringify(packages)})))`
  try {
    execFileSync(python, ['-c', look], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
