/** Checks that a child process has its pipes. */
import type { ChildProcess } from 'node:child_process'
import { DomainError } from '../domain/errors.ts'

/**
 * Throws `overloaded` when the system has refused the pipes of a process, because too many files are open. Node.js reports that by an event
 * of the child, which would otherwise end this process.
 */
export function requirePipes(child: ChildProcess, what: string): void {
  child.on('error', () => {})
  if ((child.stdio as ChildProcess['stdio'] | undefined) === undefined)
    throw new DomainError('overloaded', `${what} cannot be started: too many files are open`)
}
