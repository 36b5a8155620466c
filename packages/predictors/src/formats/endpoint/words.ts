/** Reads the features in a prompt, and the words of an answer. */

/** A feature in a prompt: `{{size}}`. */
export const placeholder = /\{\{([^{}]+)\}\}/g

/** Case, and white space and punctuation around a word, do not count. */
export const plainWord = (text: string): string => text.replace(/^[\s\p{P}]+|[\s\p{P}]+$/gu, '').toLowerCase()
