/** For the `catch` of a file operation: returns undefined for a missing file and rethrows every other error. */
export function absentFile(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
