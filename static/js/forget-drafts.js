/** Nobody is signed in: messages to editors that somebody began here are not for whoever comes next. */
for (const key of Object.keys(localStorage)) if (key.startsWith("roomote:draft:")) localStorage.removeItem(key);
