/** For `catch` of a file operation: undefined for a file that does not exist; any other failure is thrown. */
export function absentFile(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
