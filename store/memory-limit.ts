/** Limits the memory of a child process. */

/** Address space that Node 24 reserves for machine code at its start; the system counts all of it as data, used or not. Measured. */
export const reservedForCodeMb = Number.parseInt(process.versions.node, 10) >= 24 ? 512 : 0

/** The command of a limited process and the arguments before its own. */
export function withMemoryLimit(limitMb: number | undefined): { execPath?: string; execArgv: string[] } {
  if (limitMb === undefined) return { execArgv: [] }
  // Private writable memory counts, in V8's heap and outside. V8 crashes silently when a page is refused: its limit is set lower.
  const heap = `--max-old-space-size=${Math.floor(limitMb / 2)}`
  // A process that has a lower limit cannot raise it for its child.
  const lower = 'limit=$(ulimit -H -d); [ "$limit" != unlimited ] && [ "$limit" -le "$0" ]'
  const script = `${lower} || ulimit -d "$0" || exit 1; exec "$@"`
  const shell = ['-c', script, String((limitMb + reservedForCodeMb) * 1_024), process.execPath]
  return { execPath: '/bin/sh', execArgv: [...shell, heap] }
}
