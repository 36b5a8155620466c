/** What is used of undici. In compiled processes an `import()` of a CommonJS package has no names, and that of this file has them. */
export { Agent, fetch as undiciFetch, FormData as UndiciFormData } from 'undici'
